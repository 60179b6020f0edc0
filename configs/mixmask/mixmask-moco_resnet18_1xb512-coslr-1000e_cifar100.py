# Unverified: MixMask on CIFAR-100 with the network and optimiser of Un-Mix's
# script; MixMask's own settings for CIFAR-100 were not seen. Cells of 8 px.
_base_ = [
    '../_base_/datasets/cifar100_bs512_mocov2.py',
    '../_base_/models/moco_resnet18-cifar.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=1000)
model = dict(mixes=[
    dict(
        type='mimplug.MaskMix',
        mask_generator=dict(type='mimplug.GridBlockMask', keep=0.5),
        grid=4),
])
optim_wrapper = dict(optimizer=dict(lr=0.06, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=1 * 512)
