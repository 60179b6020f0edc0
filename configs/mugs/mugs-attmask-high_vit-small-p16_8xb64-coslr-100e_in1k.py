# Unverified: nobody has published Mugs with masks. Everything but the masks is
# the published run of ViT-S/16, 100 epochs; the masks are AttMask-High's. The
# student's global views lose 10 to 50 % of their patches, half of them stay
# whole; the teacher looks at these views once more to tell where.
_base_ = [
    '../_base_/datasets/imagenet_bs64_mugs-10locals.py',
    '../_base_/models/mugs_vit-small-p16.py',
    '../_base_/schedules/mugs_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

# constant
model = dict(
    group=dict(teacher_temperature=dict(
        start=0.04, final=0.04, warmup_epochs=0)),
    mask_generator=dict(
        type='mimplug.AttentionMask',
        mode='high',
        ratio=dict(type='mimplug.UniformRatio', mean=0.3, var=0.2,
                   per='view'),
        apply_prob=0.5))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=8e-4 * 8 * 64 / 256))
auto_scale_lr = dict(base_batch_size=8 * 64)

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        warmup=10,
        final=1e-6,
        convert_to_iter_based=True),
    dict(
        type='mimplug.CosineWeightDecay',
        final=0.2,
        convert_to_iter_based=True),
]

# a copy every 50 epochs
default_hooks = dict(milestone=dict(interval=50))
