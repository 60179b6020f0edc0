# AttMask-High, 100 epochs of ImageNet-1k on 4 GPUs x 60 images: the second
# training command in the README of gkakogeorgiou/attmask.
_base_ = [
    '../_base_/datasets/imagenet_bs60_attmask-10locals.py',
    '../_base_/models/attmask_vit-small-p16.py',
    '../_base_/schedules/ibot_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 4 * 60 / 256))
auto_scale_lr = dict(base_batch_size=4 * 60)
