# The network, head and losses of iBOT; masks of the thesis "Mask Image
# Modeling on Self-Supervision". A config changes the score.
_base_ = './ibot_vit-small-p16.py'

model = dict(
    mask_generator=dict(
        _delete_=True,
        type='mimplug.AttentionMask',
        mode='high',
        # where the teacher's last block looks, averaged over heads
        score=dict(type='mimplug.RawScore', layer=11),
        # each view of each image draws its own; AttMask one for the batch
        ratio=dict(
            type='mimplug.UniformRatio', mean=0.3, var=0.2, per='view'),
        apply_prob=0.5),
    # one epoch of warm-up: 0.04 in the first, then 0.07; AttMask 30
    teacher_temperature=dict(start=0.04, final=0.07, warmup_epochs=1),
    patch_temperature=dict(start=0.04, final=0.07, warmup_epochs=1))
