# SimCLR with the network of MMPretrain's config. Batch norms are synchronised
# over GPUs by the sync_bn of the schedule file.
model = dict(
    type='mimplug.SimCLR',
    backbone=dict(
        type='ResNet',
        depth=50,
        norm_cfg=dict(type='BN'),
        zero_init_residual=True),
    neck=dict(
        type='NonLinearNeck',
        in_channels=2048,
        hid_channels=2048,
        out_channels=128,
        num_layers=2,
        with_avg_pool=True,
        norm_cfg=dict(type='BN1d')),
    temperature=0.1)
