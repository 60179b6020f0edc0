# Saliency-guided MoCo as published, "hp": high-passed images, noise in hidden
# cells.
_base_ = [
    '../_base_/datasets/imagenet100_bs32_mocov2.py',
    '../_base_/models/moco_resnet50.py',
    '../_base_/models/saliency-masks.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=200)
model = dict(
    type='mimplug.SaliencyMoCo',
    saliency=_base_.localiser,
    **_base_.saliency_masks['hp'])
optim_wrapper = dict(optimizer=dict(lr=0.03 * 4 * 32 / 256))
auto_scale_lr = dict(base_batch_size=4 * 32)

# hard negatives have passed the key encoder as well: statistics for k-NN anew
val_cfg = dict(precise_bn=64)

custom_hooks = [
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.MaskPictureHook', interval=20),
]
