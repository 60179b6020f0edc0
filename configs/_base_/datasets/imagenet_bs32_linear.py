# ImageNet-1k for a linear probe: random crop and mirror, 32 images a process.
data_root = 'data/imagenet/'

data_preprocessor = dict(
    num_classes=1000,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    # LoadView gives RGB
    to_rgb=False)

train_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(
        type='RandomResizedCrop', scale=224, backend='pillow',
        interpolation='bilinear'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs'),
]

test_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(type='mimplug.CenterView', size=224, resize=256,
         interpolation='bilinear'),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='mimplug.KeyedSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='ImageNet', data_root=data_root, split='train'),
        pipeline=train_pipeline))

val_dataloader = dict(
    batch_size=128,
    num_workers=5,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='ImageNet', data_root=data_root, split='val'),
        pipeline=test_pipeline,
        max_retries=0))
val_evaluator = dict(type='Accuracy', topk=(1, 5))
val_cfg = dict()
