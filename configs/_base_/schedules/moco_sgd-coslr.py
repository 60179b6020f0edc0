# Optimiser and schedule of MoCo and its descendants: everything decays, the
# cosine moves once an epoch, no warm-up. A config sets max_epochs and the
# learning rate of its batch: 0.03 * images per step / 256.

# k-NN of the key encoder; ours, the releases evaluate afterwards
train_cfg = dict(type='mimplug.EpochTrainLoop', val_interval=20)

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    # one group: batch norms and biases are decayed, too
    optimizer=dict(type='SGD', lr=0.03, momentum=0.9, weight_decay=1e-4))

auto_scale_lr = dict(base_batch_size=256, enable=False)

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        hold=1,
        final=0.0,
        convert_to_iter_based=True),
]

custom_hooks = [
    # tells the model step, epoch and seed; the key encoder moves inside the
    # step
    dict(type='mimplug.ProgressHook'),
]
