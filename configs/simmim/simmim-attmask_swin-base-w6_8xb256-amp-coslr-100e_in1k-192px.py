# Unverified: MMPretrain's SimMIM hides what a frozen iBOT looks at; the ratio
# is SimMIM's.
_base_ = [
    '../_base_/stock/simmim_swin-base-w6_in1k-192px.py',
    '../_base_/models/frozen-ibot_vit-small-p16.py',
]

model = dict(
    cell=None,
    # its patches of 16 pixels are the cells
    attention_from={{_base_.frozen_network}},
    mask_generator=dict(
        _delete_=True,
        type='mimplug.AttentionMask',
        mode='high',
        ratio=0.6,
        apply_prob=1.0))
