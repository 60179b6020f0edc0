# Unverified: the mean logarithm of the heads as released, defect included: the
# scores of an image are the sum over all images before it in the batch. For
# comparisons only; attmask-log is what was meant. Other arguments are those of
# train_example.slurm, whose 4 x 16 images may be a test value.
_base_ = [
    '../_base_/datasets/imagenet-20pct_bs16_thesis-6locals.py',
    '../_base_/models/attmask-thesis_vit-small-p16.py',
    '../_base_/schedules/attmask-20pct_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

model = dict(
    mask_generator=dict(
        score=dict(type='mimplug.LogScore', legacy_running_sum=True)))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 4 * 16 / 256))
auto_scale_lr = dict(base_batch_size=4 * 16)
