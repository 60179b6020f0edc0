# AttMask-High, 300 epochs of ImageNet-1k on 8 GPUs x 100 images, with larger
# crops: the third training command in the README of gkakogeorgiou/attmask.
_base_ = [
    '../_base_/datasets/imagenet_bs100_attmask-10locals-scale32.py',
    '../_base_/models/attmask_vit-small-p16.py',
    '../_base_/schedules/ibot_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=300)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 8 * 100 / 256))
auto_scale_lr = dict(base_batch_size=8 * 100)
