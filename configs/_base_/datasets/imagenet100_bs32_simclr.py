# ImageNet-100 as two views with the colours of SimCLR: smaller crops, twice
# the jitter of MoCo v2.
_base_ = './imagenet_bs32_mocov2.py'

data_root = 'data/imagenet/'

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

train_dataloader = dict(dataset=dict(
    dataset=dict(
        type='mimplug.ImageNet100', data_root=data_root, split='train'),
    pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(dataset=dict(
    type='mimplug.ImageNet100', data_root=data_root, split='val')))
knn_bank_dataloader = dict(dataset=dict(dataset=dict(
    type='mimplug.ImageNet100', data_root=data_root, split='train')))
val_cfg = dict(bank=knn_bank_dataloader)
