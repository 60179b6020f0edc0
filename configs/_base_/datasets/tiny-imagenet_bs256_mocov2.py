# Tiny-ImageNet (200 classes, 64 px): two views without blur. Run
# tools/dataset_converters/tiny_imagenet.py first, it sorts the validation
# images.
_base_ = './cifar100_bs512_mocov2.py'

data_root = 'data/tiny-imagenet-200/'

# ImageNet's
data_preprocessor = dict(
    mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])

train_pipeline = [
    dict(type='mimplug.LoadView'),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=64, scale=(0.2, 1.0), interpolation='bilinear',
            jitter=(0.4, 0.4, 0.4, 0.1), jitter_prob=0.8, gray_prob=0.2,
            blur_prob=0.0, solarize_prob=0.0)),
    dict(type='mimplug.PackViews')
]

test_pipeline = [
    dict(type='mimplug.LoadView'),
    dict(type='mimplug.CenterView', size=64, resize=None),
    dict(type='mimplug.PackViews')
]

train_set = dict(
    _delete_=True, type='CustomDataset', data_root=data_root,
    data_prefix='train')
train_dataloader = dict(
    batch_size=256, dataset=dict(dataset=train_set, pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(
    dataset=dict(
        _delete_=True, type='CustomDataset', data_root=data_root,
        data_prefix='val'),
    pipeline=test_pipeline))
knn_bank_dataloader = dict(
    dataset=dict(dataset=train_set, pipeline=test_pipeline))
val_cfg = dict(bank=knn_bank_dataloader)
