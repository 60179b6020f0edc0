# MoCo for 32 px as in Un-Mix's script for CIFAR-100: ResNet-18 without stride
# and pooling in its stem, linear head, both views as queries, batch norm over
# eighths of the batch.
model = dict(
    type='mimplug.MoCo',
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        norm_cfg=dict(type='BN'),
        zero_init_residual=False),
    neck=dict(
        type='LinearNeck',
        in_channels=512,
        out_channels=128,
        gap_dim=2,
        norm_cfg=None),
    queue=4096,
    momentum=0.99,
    temperature=0.1,
    symmetric=True,
    split_bn=8)
