# MixMask on MoCo v2 as on 8 GPUs x 32 images, but on one GPU, which works off
# 4 batches of 64 a step, all with one mask, as all GPUs there have.
_base_ = [
    '../_base_/datasets/imagenet_bs32_mocov2.py',
    '../_base_/models/moco_resnet50.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=200)
model = dict(
    # without other GPUs to shuffle among, the keys' batch norm could tell
    # which query is in the batch; halves of 32 shuffled images prevent that
    split_bn=2,
    mixes=[
        dict(
            type='mimplug.MaskMix',
            mask_generator=dict(type='mimplug.GridBlockMask', keep=0.5),
            grid=8),
    ])
optim_wrapper = dict(
    accumulative_counts=4, optimizer=dict(lr=0.03 * 1 * 64 * 4 / 256))
auto_scale_lr = dict(base_batch_size=1 * 64 * 4)

train_dataloader = dict(batch_size=64)
