# Optimiser and schedule of MMPretrain's SimCLR at 256 images a step. Its
# cosine moves once an epoch after the warm-up; here it moves every step.

train_cfg = dict(type='mimplug.EpochTrainLoop', val_interval=20)

# statistics of all GPUs; nothing to do on one
sync_bn = 'torch'

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    # one-dimensional tensors have neither decay nor factor
    optimizer=dict(
        type='mimplug.LARS', lr=0.3, momentum=0.9, weight_decay=1e-6))

auto_scale_lr = dict(base_batch_size=256, enable=False)

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        warmup=10,
        final=0.0,
        convert_to_iter_based=True),
]

custom_hooks = [
    dict(type='mimplug.ProgressHook'),
]
