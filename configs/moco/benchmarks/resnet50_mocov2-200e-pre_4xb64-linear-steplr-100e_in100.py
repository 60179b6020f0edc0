# Unverified: linear probe of the baseline on ImageNet-100. The saliency paper
# states a result but no settings; these are the ones of its own probes.
_base_ = [
    '../../_base_/datasets/imagenet100_bs64_linear.py',
    '../../_base_/models/linear_resnet50.py',
    '../../_base_/schedules/linear_sgd-steplr.py',
    '../../_base_/default_runtime.py',
]

checkpoint = (
    'work_dirs/'
    'mocov2_resnet50_4xb32-coslr-200e_in100/'
    'epoch_200.pth')
model = dict(
    backbone=dict(init_cfg=dict(checkpoint=checkpoint)),
    head=dict(num_classes=100))

optim_wrapper = dict(optimizer=dict(lr=30.0 * 4 * 64 / 256))
auto_scale_lr = dict(base_batch_size=4 * 64)
