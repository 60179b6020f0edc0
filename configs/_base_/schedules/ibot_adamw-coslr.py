# Optimiser, schedules and teacher of iBOT and AttMask. A config sets
# train_cfg.max_epochs and the learning rate of its batch, which is
# 5e-4 * images per optimiser step / 256.

# AttMask's --eval_every 20 (there after epochs 1, 21, ..., here after 20,
# 40, ...); iBOT evaluates afterwards only
train_cfg = dict(type='mimplug.EpochTrainLoop', val_interval=20)

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    # biases and 1-D parameters are not decayed; everything else is, position
    # embedding, CLS and mask token included
    constructor='mimplug.TwoGroupConstructor',
    optimizer=dict(
        type='AdamW',
        lr=5e-4,
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.04,
        # one kernel for all parameters; same update up to rounding
        fused=True),
    # as published; 'bfloat16' needs no loss scaling and is the way out if a
    # long float16 run becomes NaN (bytedance/ibot, issue 19)
    dtype='float16',
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
        final=0.4,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='mimplug.TeacherHook', momentum=0.996, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=1),
    # ours: what is hidden, for people to look at
    dict(type='mimplug.MaskPictureHook', interval=20),
]
