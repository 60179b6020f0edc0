# Unverified: the contrastive third term as released: teacher features only, so
# that the term is logged but trains nothing, and the bare cosine inside the
# logarithm. For comparisons only; attmask-pairs is what was meant. Other
# arguments are those of train_example.slurm, whose 4 x 16 images may be a test
# value.
_base_ = [
    '../_base_/datasets/imagenet-20pct_bs16_thesis-6locals.py',
    '../_base_/models/attmask-thesis_vit-small-p16.py',
    '../_base_/schedules/attmask-20pct_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

model = dict(
    pair_term=dict(
        num_pairs=3,
        source='teacher',
        formula='reference',
        temperature=0.2,
        weight=1.0))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 4 * 16 / 256))
auto_scale_lr = dict(base_batch_size=4 * 16)
