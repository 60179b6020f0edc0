# MixMask on MoCo v2 on the embedded images, with 4 x 4 cells of 8 px.
_base_ = './moco_resnet-quickstart_fashion-mnist.py'

model = dict(mixes=[
    dict(
        type='mimplug.MaskMix',
        mask_generator=dict(type='mimplug.GridBlockMask', keep=0.5),
        grid=4),
])

custom_hooks = [
    # the loader's worker has the second core
    dict(type='mimplug.ThreadsHook', num_threads=1),
    dict(type='mimplug.ProgressHook'),
    dict(type='mimplug.KNNReportHook'),
    dict(type='mimplug.MaskPictureHook', num_images=6),
]
