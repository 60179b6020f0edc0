# Linear probe of MixMask as published.
_base_ = [
    '../../_base_/datasets/imagenet_bs32_linear.py',
    '../../_base_/models/linear_resnet50.py',
    '../../_base_/schedules/linear_sgd-steplr.py',
    '../../_base_/default_runtime.py',
]

checkpoint = (
    'work_dirs/'
    'mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k/'
    'epoch_200.pth')
model = dict(
    backbone=dict(init_cfg=dict(checkpoint=checkpoint)))

optim_wrapper = dict(optimizer=dict(lr=30.0 * 8 * 32 / 256))
auto_scale_lr = dict(base_batch_size=8 * 32)
