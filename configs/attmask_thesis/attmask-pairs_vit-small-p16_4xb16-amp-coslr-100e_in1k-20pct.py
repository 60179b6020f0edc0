# Unverified: the contrastive third term with the defaults k 3, temperature 0.2
# and weight 1 of contrastive_3rd_term_main_ibot.py, but as intended: anchors
# are the student's and the formula is InfoNCE. The released term has no
# gradient (attmask-pairs-ref). Other arguments are those of
# train_example.slurm, whose 4 x 16 images may be a test value.
_base_ = [
    '../_base_/datasets/imagenet-20pct_bs16_thesis-6locals.py',
    '../_base_/models/attmask-thesis_vit-small-p16.py',
    '../_base_/schedules/attmask-20pct_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

model = dict(
    pair_term=dict(
        num_pairs=3,
        source='student_anchor',
        formula='infonce',
        temperature=0.2,
        weight=1.0))

train_cfg = dict(max_epochs=100)
optim_wrapper = dict(optimizer=dict(lr=5e-4 * 4 * 16 / 256))
auto_scale_lr = dict(base_batch_size=4 * 16)
