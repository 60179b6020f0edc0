# MMPretrain's MAE (ViT-B/16) on mimplug's engine: keyed masks, resumable loop,
# guarded steps. Network, crops, optimiser and schedule are those of the
# installed config.
_base_ = 'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'

model = dict(
    type='mimplug.MAE',
    backbone=dict(
        _delete_=True, type='mimplug.MAEViT', arch='b', patch_size=16),
    mask_generator=dict(type='mimplug.RandomMask', ratio=0.75))

# leaves the data samples, whose labels nobody reads, on the host
data_preprocessor = dict(type='mimplug.SelfSupDataPreprocessor')

# as in the stock config
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.2, 1.0),
        backend='pillow',
        interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PackInputs', meta_keys=('sample_key', 'img_path')),
]
train_dataloader = dict(
    drop_last=True,
    sampler=dict(_delete_=True, type='mimplug.KeyedSampler', shuffle=True),
    # anew: MMEngine would hand the mark of the other package to the function
    collate_fn=dict(_delete_=True, type='default_collate'),
    dataset=dict(
        _delete_=True,
        type='mimplug.KeyedDataset',
        dataset=dict(
            type='ImageNet', data_root='data/imagenet/', split='train'),
        pipeline=train_pipeline))

train_cfg = dict(type='mimplug.EpochTrainLoop')
optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    dtype='float16',
    # the stock wrapper's 'dynamic' is what ours always does
    loss_scale=2.0**16,
    optimizer=dict(fused=True))
default_hooks = dict(
    runtime_info=dict(type='mimplug.RuntimeInfoHook'),
    non_finite=dict(type='mimplug.NonFiniteHook', limit=20),
    checkpoint=dict(type='mimplug.CheckpointHook'),
    signals=dict(type='mimplug.SignalHook'))
custom_hooks = [
    # tells the model step, epoch and seed: masks are a function of them
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.MaskPictureHook', interval=20),
]
randomness = dict(_delete_=True, seed=0)
resume = False
