# MoCo v2: ResNet-50, MLP head, queue of 65,536 keys.
model = dict(
    type='mimplug.MoCo',
    backbone=dict(
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='BN'),
        zero_init_residual=False),
    neck=dict(
        type='MoCoV2Neck',
        in_channels=2048,
        hid_channels=2048,
        out_channels=128,
        with_avg_pool=True),
    queue=65536,
    # share of the key encoder that a step keeps (MMPretrain writes 0.001)
    momentum=0.999,
    temperature=0.2)
