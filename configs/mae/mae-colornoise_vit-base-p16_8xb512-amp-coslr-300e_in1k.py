# Unverified: MMPretrain's MAE with the green noise of ColorMAE. The published
# widths of its filters were not seen; these are our defaults.
_base_ = '../_base_/stock/mae_vit-base-p16_in1k.py'

model = dict(
    mask_generator=dict(
        _delete_=True,
        type='mimplug.ColorNoiseMask',
        color='green',
        ratio=0.75))
