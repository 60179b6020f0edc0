# Optimiser and schedule of MMPretrain's BYOL at 4,096 images a step; see
# simclr_lars-coslr.py for what differs.
_base_ = './simclr_lars-coslr.py'

optim_wrapper = dict(optimizer=dict(lr=4.8))
auto_scale_lr = dict(base_batch_size=4096)

custom_hooks = [
    # MMPretrain writes 0.01, the share of the student
    dict(type='mimplug.TeacherHook', momentum=0.99, final_momentum=1.0),
]
