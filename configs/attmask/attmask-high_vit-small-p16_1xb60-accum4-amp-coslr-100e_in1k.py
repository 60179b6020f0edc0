# AttMask-High as on 4 GPUs x 60 images, but on one GPU, which works
# off 4 batches of 60 a step. Teacher, centres
# and schedules move with the optimiser, so a step sees the same number of
# images at the same learning rate.
_base_ = [
    '../_base_/datasets/imagenet_bs60_attmask-10locals.py',
    '../_base_/models/attmask_vit-small-p16.py',
    '../_base_/schedules/ibot_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(
    accumulative_counts=4, optimizer=dict(lr=5e-4 * 1 * 60 * 4 / 256))
auto_scale_lr = dict(base_batch_size=1 * 60 * 4)
