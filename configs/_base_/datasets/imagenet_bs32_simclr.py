# Two views with the colours of SimCLR: smaller crops, twice the jitter of
# MoCo v2.
_base_ = './imagenet_bs32_mocov2.py'

train_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=224, scale=(0.08, 1.0), interpolation='bilinear',
            jitter=(0.8, 0.8, 0.8, 0.2), jitter_prob=0.8, gray_prob=0.2,
            blur_prob=0.5, blur_radius=(0.1, 2.0), solarize_prob=0.0)),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
