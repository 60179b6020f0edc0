# Optimiser, schedules and teacher of Mugs. A config sets max_epochs and the
# learning rate of its batch: 8e-4 (ViT-L 1.5e-3) * images per step / 256.

# ours; the release evaluates afterwards only
train_cfg = dict(type='mimplug.EpochTrainLoop', val_interval=20)

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    # biases and 1-D parameters are not decayed; everything else is, position
    # embedding, CLS token and prototype magnitudes included
    constructor='mimplug.TwoGroupConstructor',
    optimizer=dict(
        type='AdamW',
        lr=8e-4,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.04,
        # one kernel for all parameters; same update up to rounding
        fused=True),
    paramwise_cfg=dict(lr_mult={'patch_embed': 0.2}),
    # no dtype: all published runs are float32
    # each tensor by its own norm
    clip_grad=dict(max_norm=3.0, per_tensor=True))

auto_scale_lr = dict(base_batch_size=256, enable=False)

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        warmup=10,
        final=1e-6,
        convert_to_iter_based=True),
    dict(
        type='mimplug.CosineWeightDecay',
        final=0.1,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='mimplug.TeacherHook', momentum=0.996, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=1),
]
