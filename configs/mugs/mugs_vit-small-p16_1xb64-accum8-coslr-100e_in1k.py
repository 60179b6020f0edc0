# Mugs ViT-S/16 as on 8 GPUs x 64 images, but on one GPU, which works off 8
# batches of 64 a step. Teacher, centre and schedules move with the optimiser;
# queues and memories take in each batch, as they come.
_base_ = [
    '../_base_/datasets/imagenet_bs64_mugs-10locals.py',
    '../_base_/models/mugs_vit-small-p16.py',
    '../_base_/schedules/mugs_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

# constant
model = dict(group=dict(teacher_temperature=dict(
    start=0.04, final=0.04, warmup_epochs=0)))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(
    accumulative_counts=8, optimizer=dict(lr=8e-4 * 1 * 64 * 8 / 256))
auto_scale_lr = dict(base_batch_size=1 * 64 * 8)

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
