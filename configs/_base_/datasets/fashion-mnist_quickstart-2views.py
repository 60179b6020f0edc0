# The embedded images for contrastive methods: two whole views, no small ones.
_base_ = './fashion-mnist_quickstart.py'

image_size = 32

train_pipeline = [
    dict(type='mimplug.LoadView', pad_to=image_size),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            # objects fill these pictures: smaller crops show none
            num=2, size=image_size, scale=(0.6, 1.0),
            interpolation='bilinear',
            # grey images: no colours to change
            jitter=(0.4, 0.4, 0.0, 0.0), jitter_prob=0.8, gray_prob=0.0,
            # 28 px have no detail to blur away
            blur_prob=0.0, solarize_prob=0.0)),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=64, dataset=dict(pipeline=train_pipeline))
