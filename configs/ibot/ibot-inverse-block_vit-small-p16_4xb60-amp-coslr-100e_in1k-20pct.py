# Unverified: iBOT with the masks of CAPI: all but one rectangle is hidden,
# and the mask is shifted round the grid. As with iBOT's own masks half of the
# views stay whole. Nobody published this; everything else is AttMask's 20 %
# setting.
_base_ = [
    '../_base_/datasets/imagenet-20pct_bs60_attmask-6locals.py',
    '../_base_/models/ibot_vit-small-p16.py',
    '../_base_/schedules/attmask-20pct_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

model = dict(
    mask_generator=dict(
        _delete_=True,
        type='mimplug.InverseRectangleMask',
        # CAPI's ratio
        ratio=0.65,
        roll=True,
        apply_prob=0.5))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 4 * 60 / 256))
auto_scale_lr = dict(base_batch_size=4 * 60)
