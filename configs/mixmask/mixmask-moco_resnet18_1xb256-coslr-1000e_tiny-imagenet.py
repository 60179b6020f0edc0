# Unverified: MixMask on Tiny-ImageNet, cells of 8 px. Network and optimiser
# are those of Un-Mix on CIFAR-100 (nobody published any for 64 px that we have
# seen); crops are MoCo v2's without blur, batch and learning rate are halved.
_base_ = [
    '../_base_/datasets/tiny-imagenet_bs256_mocov2.py',
    '../_base_/models/moco_resnet18-cifar.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=1000)
model = dict(mixes=[
    dict(
        type='mimplug.MaskMix',
        mask_generator=dict(type='mimplug.GridBlockMask', keep=0.5),
        grid=8),
])
optim_wrapper = dict(
    optimizer=dict(lr=0.06 * 1 * 256 / 512, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=1 * 256)
