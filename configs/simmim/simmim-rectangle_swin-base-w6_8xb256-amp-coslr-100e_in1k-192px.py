# Unverified: MMPretrain's SimMIM with the masks of CAPI: all but one rectangle
# is hidden, which is shifted round the image. Ratio and cells are SimMIM's.
_base_ = '../_base_/stock/simmim_swin-base-w6_in1k-192px.py'

model = dict(
    mask_generator=dict(
        _delete_=True,
        type='mimplug.InverseRectangleMask',
        ratio=0.6))
