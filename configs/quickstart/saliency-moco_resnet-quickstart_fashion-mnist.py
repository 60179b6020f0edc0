# Saliency-guided MoCo (blur) on the embedded images. What the paper does on
# 7 x 7 cells of 224 px happens on 4 x 4 cells of 32 px.
_base_ = './moco_resnet-quickstart_fashion-mnist.py'

cells = 4
# 31 and 10 of 224 px
blur = dict(type='mimplug.BlurFill', kernel_size=5, sigma=10 * 32 / 224)

model = dict(
    type='mimplug.SaliencyMoCo',
    # the key encoder's last map, 4 x 4: no other network, no labels
    saliency=dict(type='mimplug.SCDA', stage=2, supervised=False),
    view_masks=[
        dict(
            views=[0],
            mask_generator=dict(
                type='mimplug.SaliencyMask', ratio=(0.05, 0.25)),
            fill=blur,
            cells=cells),
    ],
    hard_negative=dict(
        mask_generator=dict(
            type='mimplug.SaliencyMask', mode='foreground', ratio=(0.4, 0.7)),
        fill=blur,
        cells=cells,
        num=1,
        # 1.0 / 0.1 scales a similarity as the published 2.0 / 0.2 do
        alpha=1.0))

custom_hooks = [
    # the loader's worker has the second core
    dict(type='mimplug.ThreadsHook', num_threads=1),
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.KNNReportHook'),
    dict(type='mimplug.MaskPictureHook', num_images=6),
]
