# AttMask's crops, cut on the device: the workers only decode.
_base_ = './imagenet_bs60_attmask-10locals.py'

data_preprocessor = dict(type='mimplug.DeviceMultiCropPreprocessor')

train_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    # the settings of mimplug.MultiCrop
    dict(
        type='mimplug.PlanMultiCrop',
        global_crops=dict(
            num=2, size=224, scale=(0.25, 1.0),
            blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2)),
        local_crops=dict(
            num=10, size=96, scale=(0.05, 0.25), blur_prob=0.5)),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
