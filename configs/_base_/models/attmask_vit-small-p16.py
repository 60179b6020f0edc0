# AttMask is iBOT with masks from the teacher's attention.
_base_ = './ibot_vit-small-p16.py'

model = dict(
    mask_generator=dict(
        _delete_=True,
        type='mimplug.AttentionMask',
        mode='high',
        # One ratio for the whole batch: the released code draws it on each
        # rank, but seeds all ranks alike, so that they draw the same one.
        # Gradient accumulation counts as one batch, too.
        ratio=dict(
            type='mimplug.UniformRatio', mean=0.3, var=0.2, per='batch'),
        apply_prob=0.5))
