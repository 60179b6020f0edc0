# Linear probe of Un-Mix + MixMask as published.
_base_ = './resnet50_mixmask-mocov2-200e-pre_8xb32-linear-steplr-100e_in1k.py'

checkpoint = (
    'work_dirs/'
    'unmix-mixmask-mocov2_resnet50_8xb32-coslr-200e_in1k/'
    'epoch_200.pth')
model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
