# Unverified: saliency-guided SimCLR, "blur". The paper has it, the released
# code has not; MMPretrain's recipe with 200 epochs, masks as for MoCo.
_base_ = [
    '../_base_/datasets/imagenet100_bs32_simclr.py',
    '../_base_/models/simclr_resnet50.py',
    '../_base_/models/saliency-masks.py',
    '../_base_/schedules/simclr_lars-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=200)
model = dict(
    type='mimplug.SimCLR',
    saliency=_base_.localiser,
    **_base_.saliency_masks['blur'])
auto_scale_lr = dict(base_batch_size=8 * 32)

# the encoder has also seen masked or mixed images: statistics for k-NN anew
val_cfg = dict(precise_bn=64)

custom_hooks = [
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.MaskPictureHook', interval=20),
]
