# Two views that differ in blur and solarisation, 256 images a process.
_base_ = './imagenet_bs32_mocov2.py'

train_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=224, scale=(0.08, 1.0), interpolation='bicubic',
            jitter=(0.4, 0.4, 0.2, 0.1), jitter_prob=0.8, gray_prob=0.2,
            blur_prob=(1.0, 0.1), blur_radius=(0.1, 2.0),
            solarize_prob=(0.0, 0.2))),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=256, dataset=dict(pipeline=train_pipeline))
