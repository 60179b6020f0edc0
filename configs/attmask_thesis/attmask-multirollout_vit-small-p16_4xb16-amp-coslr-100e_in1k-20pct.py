# Unverified: the first global crop is masked by the rollout over the last four
# blocks, the second by that over the middle four. The released script stops
# with an error here; the pair is our choice. Other arguments are those of
# train_example.slurm, whose 4 x 16 images may be a test value.
_base_ = [
    '../_base_/datasets/imagenet-20pct_bs16_thesis-6locals.py',
    '../_base_/models/attmask-thesis_vit-small-p16.py',
    '../_base_/schedules/attmask-20pct_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

# the release masks by crop; 'random' draws for each view of each image, and
# 'cycle' exchanges the two in turn
model = dict(
    mask_generator=dict(
        _delete_=True,
        type='mimplug.PerView',
        assign='by_crop',
        generators=[
            dict(
                type='mimplug.AttentionMask',
                mode='high',
                score=dict(type='mimplug.RolloutScore', preset='last'),
                ratio=(0.3, 0.2),
                apply_prob=0.5),
            dict(
                type='mimplug.AttentionMask',
                mode='high',
                score=dict(type='mimplug.RolloutScore', preset='mid'),
                ratio=(0.3, 0.2),
                apply_prob=0.5),
        ]))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 4 * 16 / 256))
auto_scale_lr = dict(base_batch_size=4 * 16)
