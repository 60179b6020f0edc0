# ImageNet-1k as in train_example.slurm of DimitrisReppas/MIM_on_self-
# supervision: AttMask's crops, but 6 local ones and 16 images a process.
_base_ = './imagenet_bs60_attmask-10locals.py'

train_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=224, scale=(0.25, 1.0),
            blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2)),
        local_crops=dict(
            num=6, size=96, scale=(0.05, 0.25), blur_prob=0.5)),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=16, dataset=dict(pipeline=train_pipeline))
