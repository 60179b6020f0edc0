# iBOT ViT-S/16, 800 epochs of ImageNet-1k on 16 GPUs x 64 images: the command
# in the README of bytedance/ibot.
_base_ = [
    '../_base_/datasets/imagenet_bs64_ibot-10locals.py',
    '../_base_/models/ibot_vit-small-p16.py',
    '../_base_/schedules/ibot_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 16 * 64 / 256))
auto_scale_lr = dict(base_batch_size=16 * 64)
