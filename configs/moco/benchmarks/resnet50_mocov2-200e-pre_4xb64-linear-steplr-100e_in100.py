# Unverified: linear probe of the baseline on ImageNet-100. The saliency paper
# states a result but no settings; these are the ones of its own probes.
_base_ = (
    '../../saliency_moco/benchmarks/resnet50_saliency-moco-blur-200e-pre_'
    '4xb64-linear-steplr-100e_in100.py')

checkpoint = (
    'work_dirs/'
    'mocov2_resnet50_4xb32-coslr-200e_in100/'
    'epoch_200.pth')
model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
