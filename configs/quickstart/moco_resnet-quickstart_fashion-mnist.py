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
    # no stride and no pooling in the stem: maps of 32, 16, 8 and 4 px
    backbone=dict(
        type='ResNet_CIFAR',
        depth=18,
        stem_channels=16,
        base_channels=16,
        norm_cfg=dict(type='BN'),
        zero_init_residual=False),
    neck=dict(
        type='MoCoV2Neck',
        in_channels=128,
        hid_channels=128,
        out_channels=64,
        with_avg_pool=True),
    # half the images; published: 65,536 of 1.28 million
    queue=1024,
    # a step sees 3 % of the images, published: 0.02 %
    momentum=0.99,
    temperature=0.2)

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4))

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR', convert_to_iter_based=True, final=0.0),
]

auto_scale_lr = dict(base_batch_size=64)

train_cfg = dict(
    type='mimplug.EpochTrainLoop', max_epochs=24, val_interval=8)

custom_hooks = [
    # the loader's worker has the second core
    dict(type='mimplug.ThreadsHook', num_threads=1),
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.KNNReportHook'),
]

default_hooks = dict(
    logger=dict(interval=log_interval),
    checkpoint=dict(interval=8, max_keep_ckpts=2))
