# Saliency-guided MoCo, "hp", as on 4 GPUs x 32 images, but on one GPU, which
# works off 2 batches of 64 a step.
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
    # without other GPUs to shuffle among, the keys' batch norm could tell
    # which query is in the batch; halves of 32 shuffled images prevent that
    split_bn=2,
    saliency=_base_.localiser,
    **_base_.saliency_masks['hp'])
optim_wrapper = dict(
    accumulative_counts=2, optimizer=dict(lr=0.03 * 1 * 64 * 2 / 256))
auto_scale_lr = dict(base_batch_size=1 * 64 * 2)

train_dataloader = dict(batch_size=64)

# hard negatives have passed the key encoder as well: statistics for k-NN anew
val_cfg = dict(precise_bn=64)

custom_hooks = [
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.MaskPictureHook', interval=20),
]
