# Mugs ViT-B/16, 400 epochs: 24 GPUs x 42 images, as in the shell script of the
# release; its README speaks of 1,024 images a step.
_base_ = [
    '../_base_/datasets/imagenet_bs64_mugs-10locals.py',
    '../_base_/models/mugs_vit-small-p16.py',
    '../_base_/schedules/mugs_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(arch='base'),
    group=dict(teacher_temperature=dict(
        start=0.04, final=0.07, warmup_epochs=50)))

train_cfg = dict(max_epochs=400)
train_dataloader = dict(batch_size=42)
optim_wrapper = dict(optimizer=dict(lr=8e-4 * 24 * 42 / 256))
auto_scale_lr = dict(base_batch_size=24 * 42)

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        warmup=10,
        final=2e-6,
        convert_to_iter_based=True),
    dict(
        type='mimplug.CosineWeightDecay',
        final=0.1,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='mimplug.TeacherHook', momentum=0.996, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=3),
]

val_cfg = dict(temperature=0.04)

# a copy every 50 epochs
default_hooks = dict(milestone=dict(interval=50))
