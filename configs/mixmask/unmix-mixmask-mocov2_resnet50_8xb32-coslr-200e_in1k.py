# Un-Mix and MixMask together on MoCo v2, as published: three passes of the
# query encoder.
_base_ = [
    '../_base_/datasets/imagenet_bs32_mocov2.py',
    '../_base_/models/moco_resnet50.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=200)
model = dict(mixes=[
    # in the order of the release, which the batch norms' statistics see
    dict(type='mimplug.UnMix', prob=0.5, beta=1.0),
    dict(
        type='mimplug.MaskMix',
        mask_generator=dict(type='mimplug.GridBlockMask', keep=0.5),
        grid=8,
        partner='permutation'),
])
optim_wrapper = dict(optimizer=dict(lr=0.03 * 8 * 32 / 256))
auto_scale_lr = dict(base_batch_size=8 * 32)
