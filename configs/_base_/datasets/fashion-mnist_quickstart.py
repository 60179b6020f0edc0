# 2,000 + 1,000 real images that lie inside the package; grey 28 x 28 become
# RGB 32 x 32.
image_size = 32
local_size = 16

data_preprocessor = dict(
    type='mimplug.MultiViewDataPreprocessor',
    mean=[72.93, 72.93, 72.93],
    std=[90.02, 90.02, 90.02])

train_pipeline = [
    dict(type='mimplug.LoadView', pad_to=image_size),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=image_size, scale=(0.3, 1.0),
            # grey images: no colours to change
            jitter=(0.4, 0.4, 0.0, 0.0), jitter_prob=1.0, gray_prob=0.0,
            # 28 px have no detail to blur away
            blur_prob=0.0, solarize_prob=0.0),
        local_crops=dict(
            num=2, size=local_size, scale=(0.1, 0.4),
            jitter=(0.4, 0.4, 0.0, 0.0), jitter_prob=1.0, gray_prob=0.0,
            blur_prob=0.0)),
    dict(type='mimplug.PackViews')
]

test_pipeline = [
    dict(type='mimplug.LoadView', pad_to=image_size),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='mimplug.KeyedSampler', shuffle=True),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='mimplug.EmbeddedFashionMNIST', split='train'),
        pipeline=train_pipeline))

val_dataloader = dict(
    batch_size=250,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='mimplug.EmbeddedFashionMNIST', split='test'),
        pipeline=test_pipeline,
        max_retries=0))

# the labelled images that vote in the k-NN
knn_bank_dataloader = dict(
    batch_size=250,
    num_workers=0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='mimplug.view_collate'),
    dataset=dict(
        type='mimplug.KeyedDataset',
        dataset=dict(type='mimplug.EmbeddedFashionMNIST', split='train'),
        pipeline=test_pipeline,
        max_retries=0))

val_cfg = dict(
    type='mimplug.KNNValLoop',
    bank=knn_bank_dataloader,
    k=(10, 20, 100, 200),
    temperature=0.07)
val_evaluator = []
