# CIFAR-100 as in Un-Mix's script: two views of 32 px without blur.
data_root = 'data/cifar100/'

# as in MoCo's CIFAR demo, from which that script descends
data_preprocessor = dict(
    type='mimplug.MultiViewDataPreprocessor',
    mean=[125.307, 122.961, 113.8575],
    std=[51.5865, 50.847, 51.255])

train_pipeline = [
    dict(type='mimplug.LoadView'),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=32, scale=(0.08, 1.0), interpolation='bilinear',
            jitter=(0.4, 0.4, 0.4, 0.1), jitter_prob=0.8, gray_prob=0.2,
            blur_prob=0.0, solarize_prob=0.0)),
    dict(type='mimplug.PackViews')
]

test_pipeline = [
    dict(type='mimplug.LoadView'),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=512,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    drop_last=True,
    sampler=dict(type='mimplug.KeyedSampler', shuffle=True),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='CIFAR100', data_root=data_root, split='train'),
        pipeline=train_pipeline))

val_dataloader = dict(
    batch_size=512,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='CIFAR100', data_root=data_root, split='test'),
        pipeline=test_pipeline,
        max_retries=0))

# the labelled images that vote in the k-NN
knn_bank_dataloader = dict(
    batch_size=512,
    num_workers=4,
    persistent_workers=False,
    pin_memory=True,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='CIFAR100', data_root=data_root, split='train'),
        pipeline=test_pipeline,
        max_retries=0))

# the script's monitor
val_cfg = dict(
    type='mimplug.KNNValLoop',
    bank=knn_bank_dataloader,
    k=(20, 200),
    temperature=0.1)
val_evaluator = []
