# iBOT ViT-S/16 as on 16 GPUs x 64 images, but on one GPU, which works
# off 16 batches of 64 a step. Teacher, centres
# and schedules move with the optimiser, so a step sees the same number of
# images at the same learning rate.
_base_ = [
    '../_base_/datasets/imagenet_bs64_ibot-10locals.py',
    '../_base_/models/ibot_vit-small-p16.py',
    '../_base_/schedules/ibot_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(
    accumulative_counts=16, optimizer=dict(lr=5e-4 * 1 * 64 * 16 / 256))
auto_scale_lr = dict(base_batch_size=1 * 64 * 16)
