# ImageNet-1k for Mugs: 2 global crops for the teacher, 2 other ones and 10
# local crops for the student, 64 images a process.
_base_ = './imagenet_bs60_attmask-10locals.py'

train_pipeline = [
    dict(type='mimplug.LoadView'),
    dict(
        type='mimplug.MugsMultiCrop',
        # the weak views; strong ones have the same crops
        global_crops=dict(
            num=2, size=224, scale=(0.25, 1.0),
            blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2)),
        local_crops=dict(
            num=10, size=96, scale=(0.05, 0.25), blur_prob=0.5),
        # --prob 0.5
        strong_prob=0.5,
        # rand-m9-mstd0.5-inc1, random erasing 0.25
        strong=dict(
            rand_augment=dict(magnitude=9.0, magnitude_std=0.5),
            erase=dict(prob=0.25))),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=64, dataset=dict(pipeline=train_pipeline))

# the k-NN script of the release: 0.05 for ViT-S, 0.04 for ViT-B and ViT-L
val_cfg = dict(temperature=0.05)
