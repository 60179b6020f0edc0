# Unverified: MMPretrain's BEiT hides what a frozen iBOT looks at: of the 75
# strongest patches, BEiT's number, 9 of the very strongest stay as hints.
_base_ = [
    '../_base_/stock/beit_beit-base-p16_in1k.py',
    '../_base_/models/frozen-ibot_vit-small-p16.py',
]

model = dict(
    attention_from={{_base_.frozen_network}},
    mask_generator=dict(
        _delete_=True,
        type='mimplug.AttentionMask',
        mode='hint',
        ratio=0.383,
        show_max=0.1,
        show_ratio=0.05,
        apply_prob=1.0))
