# MoCo v2 on the 2,000 embedded images, in minutes on two CPU cores. The method
# is the published one; sizes are chosen for small grey pictures.
_base_ = [
    '../_base_/datasets/fashion-mnist_quickstart-2views.py',
    '../_base_/default_runtime.py',
]

log_interval = 31

model = dict(
    type='mimplug.MoCo',
    data_preprocessor=_base_.data_preprocessor,
    # a small stem without pooling, three stages: maps of 16, 8 and 4 px
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        stem_channels=16,
        base_channels=16,
        num_stages=3,
        strides=(2, 2, 2),
        dilations=(1, 1, 1),
        out_indices=(2, ),
        norm_cfg=dict(type='BN'),
        zero_init_residual=False),
    neck=dict(
        type='MoCoV2Neck',
        in_channels=64,
        hid_channels=128,
        out_channels=64,
        with_avg_pool=True),
    # half the images; published: 65,536 of 1.28 million
    queue=1024,
    # as in the CIFAR-10 demonstration of MoCo's authors; ImageNet: 0.999, 0.2
    momentum=0.99,
    temperature=0.1)

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    # SGD with the published rate hardly moves in 744 steps
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05, fused=True))

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR', convert_to_iter_based=True, final=0.0),
]

auto_scale_lr = dict(base_batch_size=64)

train_cfg = dict(
    type='mimplug.EpochTrainLoop', max_epochs=24, val_interval=8)

# the key encoder's statistics are those of crops and, with saliency masks, of
# hidden objects
val_cfg = dict(precise_bn=8)

custom_hooks = [
    # the loader's worker has the second core
    dict(type='mimplug.ThreadsHook', num_threads=1),
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.KNNReportHook'),
]

default_hooks = dict(
    logger=dict(interval=log_interval),
    checkpoint=dict(interval=8, max_keep_ckpts=2))
