# Unverified: linear probe of masked MoCo v2 on ImageNet-100, with the settings
# of the saliency release. The encoder has only seen high-passed images, so the
# probe has the same filter.
_base_ = (
    '../../saliency_moco/benchmarks/resnet50_saliency-moco-hp-200e-pre_'
    '4xb64-linear-steplr-100e_in100.py')

checkpoint = (
    'work_dirs/'
    'mscn-mocov2_resnet50_4xb32-coslr-200e_in100/'
    'epoch_200.pth')
model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
