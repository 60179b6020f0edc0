# As for the whole data set, but the teacher follows faster.
_base_ = './ibot_adamw-coslr.py'

custom_hooks = [
    dict(type='mimplug.TeacherHook', momentum=0.99, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=1),
    # ours: what is hidden, for people to look at
    dict(type='mimplug.MaskPictureHook', interval=20),
]
