# Unverified: MMPretrain's own SimCLR with masked views, on ImageNet-100; only
# the data preprocessor is ours. No code of Masked Siamese ConvNets is public
# and its settings were not seen; masks and fill are those of saliency-guided
# MoCo ("hp") without saliency and without hard negatives.
_base_ = [
    '../_base_/datasets/imagenet100_bs32_simclr.py',
    '../_base_/schedules/simclr_lars-coslr.py',
    '../_base_/default_runtime.py',
]

# any cell, wherever the object is
cells = dict(type='mimplug.SaliencyMask', guided=False, ratio=(0.05, 0.25))
data_preprocessor = dict(
    type='mimplug.MaskingDataPreprocessor',
    image_size=224,
    input_filter=dict(type='mimplug.HighPass', kernel_size=11, sigma=5.0),
    view_masks=[
        dict(
            views=[0],
            mask_generator=dict(
                type='mimplug.MixedMask',
                generators=[
                    dict(type='mimplug.FocalMask', side=200 / 224),
                    dict(cells),
                    dict(cells, channelwise=True),
                ],
                probs=(0.2, 0.8 * 0.3, 0.8 * 0.7),
                cells=7),
            fill=dict(type='mimplug.NoiseFill', std=0.18)),
    ])
del cells

model = dict(
    type='SimCLR',
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
    head=dict(
        type='ContrastiveHead',
        loss=dict(type='CrossEntropyLoss'),
        temperature=0.1))

train_cfg = dict(max_epochs=200)
auto_scale_lr = dict(base_batch_size=8 * 32)

# the encoder has also seen masked or mixed images: statistics for k-NN anew
val_cfg = dict(precise_bn=64)
