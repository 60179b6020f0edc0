# Unverified: masked MoCo v2 on ImageNet-100. No code of Masked Siamese
# ConvNets is public and its settings were not seen; masks and fill are those
# of saliency-guided MoCo ("hp") without saliency and without hard negatives.
_base_ = [
    '../_base_/datasets/imagenet100_bs32_mocov2.py',
    '../_base_/models/moco_resnet50.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

# any cell, wherever the object is
cells = dict(type='mimplug.SaliencyMask', guided=False, ratio=(0.05, 0.25))
model = dict(
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

train_cfg = dict(max_epochs=200)
optim_wrapper = dict(optimizer=dict(lr=0.03 * 4 * 32 / 256))
auto_scale_lr = dict(base_batch_size=4 * 32)

custom_hooks = [
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.MaskPictureHook', interval=20),
]
