# Unverified: linear probe of Un-Mix, whose README states a result but no
# settings; these are MoCo's.
_base_ = (
    '../../moco/benchmarks/resnet50_mocov2-200e-pre_'
    '8xb32-linear-steplr-100e_in1k.py')

checkpoint = (
    'work_dirs/'
    'unmix-mocov2_resnet50_8xb32-coslr-200e_in1k/'
    'epoch_200.pth')
model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
