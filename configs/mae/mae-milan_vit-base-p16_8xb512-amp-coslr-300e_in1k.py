# Unverified: MMPretrain's MAE with the masks of MILAN: patches are kept by
# chance, the more so the more a frozen network attends to them (there CLIP's,
# here iBOT's). The target stays MAE's.
_base_ = [
    '../_base_/stock/mae_vit-base-p16_in1k.py',
    '../_base_/models/frozen-ibot_vit-small-p16.py',
]

model = dict(
    attention_from={{_base_.frozen_network}},
    mask_generator=dict(
        _delete_=True,
        type='mimplug.MILANMask',
        ratio=0.75))
