# ImageNet-1k for AttMask: 2 global and 10 local crops, 60 images a process.
data_root = 'data/imagenet/'

data_preprocessor = dict(
    type='mimplug.MultiViewDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])

train_pipeline = [
    # the reference tolerates truncated files, too
    dict(type='mimplug.LoadView', truncated=True),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=224, scale=(0.25, 1.0),
            blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2)),
        local_crops=dict(
            num=10, size=96, scale=(0.05, 0.25), blur_prob=0.5)),
    dict(type='mimplug.PackViews')
]

test_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(type='mimplug.CenterView', size=224, resize=256),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=60,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mimplug.KeyedSampler', shuffle=True),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='ImageNet', data_root=data_root, split='train'),
        pipeline=train_pipeline))

val_dataloader = dict(
    batch_size=128,
    num_workers=5,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='ImageNet', data_root=data_root, split='val'),
        pipeline=test_pipeline,
        max_retries=0))

# the labelled images that vote in the k-NN
knn_bank_dataloader = dict(
    batch_size=128,
    num_workers=10,
    persistent_workers=False,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='ImageNet', data_root=data_root, split='train'),
        pipeline=test_pipeline,
        max_retries=0))

val_cfg = dict(
    type='mimplug.KNNValLoop',
    bank=knn_bank_dataloader,
    k=(10, 20, 100, 200),
    temperature=0.07)
val_evaluator = []
