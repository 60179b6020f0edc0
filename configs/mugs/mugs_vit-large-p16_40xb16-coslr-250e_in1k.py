# Mugs ViT-L/16, 250 epochs: 40 GPUs x 16 images.
_base_ = [
    '../_base_/datasets/imagenet_bs64_mugs-10locals.py',
    '../_base_/models/mugs_vit-small-p16.py',
    '../_base_/schedules/mugs_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.3),
    group=dict(
        head=dict(norm_last_layer=True),
        teacher_temperature=dict(start=0.04, final=0.07, warmup_epochs=50)))

train_cfg = dict(max_epochs=250)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(
    optimizer=dict(lr=1.5e-3 * 40 * 16 / 256, weight_decay=0.025))
auto_scale_lr = dict(base_batch_size=40 * 16)

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        warmup=10,
        final=1.5e-4,
        convert_to_iter_based=True),
    dict(
        type='mimplug.CosineWeightDecay',
        final=0.08,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='mimplug.TeacherHook', momentum=0.996, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=3),
    # of ViT-L only, in the code of the release: a tenth after epoch 100
    dict(type='mimplug.ClipHook', epoch=101, max_norm=0.3),
]

val_cfg = dict(temperature=0.04)

# a copy every 50 epochs
default_hooks = dict(milestone=dict(interval=50))
