# MMPretrain's BEiT (ViT-B/16, DALL-E's tokeniser) on mimplug's engine: keyed
# masks, resumable loop, guarded steps. Network, crops, optimiser and schedule
# are those of the installed config.
_base_ = 'mmpretrain::beit/beit_beit-base-p16_8xb256-amp-coslr-300e_in1k.py'

model = dict(
    type='mimplug.BEiT',
    # at most 75 of 196 patches, in blocks of at least 16
    mask_generator=dict(
        type='mimplug.BlockMask', ratio=0.383, min_area=16))

# leaves the data samples, whose labels nobody reads, on the host
data_preprocessor = dict(type='mimplug.TwoNormDataPreprocessor')

# as in the stock config, but for the transform that made the masks
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandomResizedCropAndInterpolationWithTwoPic',
        size=224,
        second_size=112,
        interpolation='bicubic',
        second_interpolation='lanczos',
        scale=(0.08, 1.0)),
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
    optimizer=dict(fused=True),
    # the norm of all gradients, as in the stock wrapper
    clip_grad=dict(per_tensor=False))
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
