# AttMask-Hint, 100 epochs of 20 % of ImageNet-1k (260 images a class) on
# 4 GPUs x 60 images, from the README of gkakogeorgiou/attmask. 6 local crops
# and teacher momentum 0.99 are in the base files.
_base_ = [
    '../_base_/datasets/imagenet-20pct_bs60_attmask-6locals.py',
    '../_base_/models/attmask_vit-small-p16.py',
    '../_base_/schedules/attmask-20pct_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

# the rest of AttMask's settings is in the base file
model = dict(mask_generator=dict(mode='hint', show_max=0.1))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 4 * 60 / 256))
auto_scale_lr = dict(base_batch_size=4 * 60)
