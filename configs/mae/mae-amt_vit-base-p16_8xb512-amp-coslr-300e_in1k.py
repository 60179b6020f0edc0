# Unverified: MMPretrain's MAE with the masks of AMT: 45 % hidden, 40 % thrown
# away. There the attention is MAE's own, renewed every 40 epochs; here it is
# that of a frozen iBOT, from the first step.
_base_ = [
    '../_base_/stock/mae_vit-base-p16_in1k.py',
    '../_base_/models/frozen-ibot_vit-small-p16.py',
]

model = dict(
    attention_from={{_base_.frozen_network}},
    mask_generator=dict(
        _delete_=True,
        type='mimplug.AMTMask',
        ratio=0.45,
        throw=0.4))
