# MMPretrain's SimMIM (Swin-B, window 6, 192 px) on mimplug's engine: keyed
# masks, resumable loop, guarded steps. Network, crops, optimiser and schedule
# are those of the installed config.
_base_ = ('mmpretrain::simmim/'
          'simmim_swin-base-w6_8xb256-amp-coslr-100e_in1k-192px.py')

model = dict(
    type='mimplug.SimMIM',
    # cells of 8 patches of 4 pixels: the published 32
    cell=8,
    mask_generator=dict(type='mimplug.SimMIMMask', ratio=0.6, cell=1))

# leaves the data samples, whose labels nobody reads, on the host
data_preprocessor = dict(type='mimplug.SelfSupDataPreprocessor')

# as in the stock config, but for the transform that made the masks
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=192, crop_ratio_range=(0.67, 1.0)),
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
randomness = dict(seed=0)
