# AttMask-High on the 2,000 embedded images, in minutes on two CPU cores. The
# method is the published one; sizes are chosen for small grey pictures.
_base_ = [
    '../_base_/datasets/fashion-mnist_quickstart.py',
    '../_base_/default_runtime.py',
]

log_interval = 31

# constant: the published rise to 0.07 takes 30 epochs of ImageNet
temperature = dict(start=0.04, final=0.04)
model = dict(
    type='mimplug.IBOT',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='mimplug.MaskedViT',
        arch=dict(
            embed_dims=96,
            num_layers=3,
            num_heads=3,
            feedforward_channels=384),
        img_size=_base_.image_size,
        patch_size=8,
        interpolate_offset=0.1),
    head=dict(
        type='mimplug.PrototypeHead',
        num_prototypes=128,
        hidden_channels=256,
        bottleneck_channels=64),
    mask_generator=dict(
        type='mimplug.AttentionMask',
        mode='high',
        # each view draws its own; the release shares one in a batch, which
        # with 16 patches and small batches is a coarse choice
        ratio=dict(type='mimplug.UniformRatio', mean=0.3, var=0.2,
                   per='view'),
        apply_prob=0.5),
    teacher_temperature=temperature,
    patch_temperature=temperature)

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    constructor='mimplug.TwoGroupConstructor',
    optimizer=dict(type='AdamW', lr=3e-4, weight_decay=0.04, fused=True),
    # three equal channels move the filters of grey images three times as far
    paramwise_cfg=dict(lr_mult={'patch_embed': 0.3}),
    clip_grad=dict(max_norm=3.0, per_tensor=True))

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        convert_to_iter_based=True,
        warmup=0.1,
        final=1e-6),
    dict(
        type='mimplug.CosineWeightDecay',
        convert_to_iter_based=True,
        final=0.04),
]

auto_scale_lr = dict(base_batch_size=32)

train_cfg = dict(
    type='mimplug.EpochTrainLoop', max_epochs=48, val_interval=8)

custom_hooks = [
    # the loader's worker has the second core
    dict(type='mimplug.ThreadsHook', num_threads=1),
    dict(type='mimplug.TeacherHook', momentum=0.99, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=1),
    dict(type='mimplug.KNNReportHook'),
    dict(type='mimplug.MaskPictureHook', num_images=6),
]

default_hooks = dict(
    logger=dict(interval=log_interval),
    checkpoint=dict(interval=8, max_keep_ckpts=2))
