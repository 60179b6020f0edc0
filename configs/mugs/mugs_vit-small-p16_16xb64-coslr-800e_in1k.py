# Mugs ViT-S/16, 800 epochs: 16 GPUs x 64 images.
_base_ = [
    '../_base_/datasets/imagenet_bs64_mugs-10locals.py',
    '../_base_/models/mugs_vit-small-p16.py',
    '../_base_/schedules/mugs_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(optimizer=dict(lr=8e-4 * 16 * 64 / 256))
auto_scale_lr = dict(base_batch_size=16 * 64)

# a copy every 50 epochs
default_hooks = dict(milestone=dict(interval=50))
