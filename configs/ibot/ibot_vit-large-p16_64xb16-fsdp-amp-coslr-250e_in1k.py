# Unverified: settings of ibot_vit-large-p16_64xb16-amp-coslr-250e_in1k.py, in
# bfloat16. Parameters, gradients, teacher and optimiser state (6 GB in
# float32) are split over the GPUs.
_base_ = [
    '../_base_/datasets/imagenet_bs64_ibot-10locals.py',
    '../_base_/models/ibot_vit-small-p16.py',
    '../_base_/schedules/ibot_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

runner_type = 'FlexibleRunner'
strategy = dict(type='mimplug.FullyShardedStrategy')

model = dict(
    backbone=dict(arch='large'),
    head=dict(norm_last_layer=True))

train_cfg = dict(max_epochs=250)
train_dataloader = dict(batch_size=16)
optim_wrapper = dict(
    # no loss scaling, which has not been tried on shards
    dtype='bfloat16',
    optimizer=dict(lr=5e-4 * 64 * 16 / 256))
auto_scale_lr = dict(base_batch_size=64 * 16)

# what runs on one rank only, as MaskPictureHook, cannot gather a model; and
# evaluations call its parts: run `mimplug knn` on the checkpoints
custom_hooks = [
    dict(type='mimplug.TeacherHook', momentum=0.996, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=1),
]
val_cfg = None
val_dataloader = None
val_evaluator = None
