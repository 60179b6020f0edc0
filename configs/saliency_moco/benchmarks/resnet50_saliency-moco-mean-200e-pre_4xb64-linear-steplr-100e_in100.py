# Linear probe of saliency-guided MoCo, "mean", as published.
_base_ = (
    './resnet50_saliency-moco-blur-200e-pre_'
    '4xb64-linear-steplr-100e_in100.py')

checkpoint = (
    'work_dirs/'
    'saliency-moco-mean_resnet50_4xb32-coslr-200e_in100/'
    'epoch_200.pth')
model = dict(backbone=dict(init_cfg=dict(checkpoint=checkpoint)))
