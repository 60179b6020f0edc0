# MoCo's linear probe: 100 epochs, no decay, a tenth at 60 and 80. A config
# sets the learning rate of its batch: 30 * images per step / 256.

train_cfg = dict(
    type='mimplug.EpochTrainLoop', max_epochs=100, val_interval=1)

optim_wrapper = dict(
    type='mimplug.OptimWrapper',
    optimizer=dict(type='SGD', lr=30.0, momentum=0.9, weight_decay=0.0))

auto_scale_lr = dict(base_batch_size=256, enable=False)

param_scheduler = [
    dict(type='MultiStepLR', by_epoch=True, milestones=[60, 80], gamma=0.1),
]
