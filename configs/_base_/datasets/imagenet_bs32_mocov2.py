# ImageNet-1k for MoCo v2 and its descendants ("aug-plus"): two views, 32
# images a process. The release mirrors a view last, here it is mirrored before
# its colours change: the same views with the same probabilities.
data_root = 'data/imagenet/'

data_preprocessor = dict(
    type='mimplug.MultiViewDataPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375])

train_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=224, scale=(0.2, 1.0), interpolation='bilinear',
            jitter=(0.4, 0.4, 0.4, 0.1), jitter_prob=0.8, gray_prob=0.2,
            blur_prob=0.5, blur_radius=(0.1, 2.0), solarize_prob=0.0)),
    dict(type='mimplug.PackViews')
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
    num_workers=8,
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
