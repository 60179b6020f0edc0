# ViT-S/16 with iBOT's block-wise masks: the arguments that the published
# ViT-S runs of bytedance/ibot and gkakogeorgiou/attmask share.
model = dict(
    type='mimplug.IBOT',
    backbone=dict(
        type='mimplug.MaskedViT',
        # the papers' ViT-S: width 384, 12 layers, 6 heads ('small' of
        # MMPretrain is another network)
        arch='deit-small',
        img_size=224,
        patch_size=16,
        # of the student; the teacher is built without
        drop_path_rate=0.1,
        # position embedding of 96 px crops as the published weights saw it
        interpolate_offset=0.1),
    head=dict(
        type='mimplug.PrototypeHead',
        num_prototypes=8192,
        shared=True,
        norm_last_layer=False),
    # --pred_ratio 0 0.3 --pred_ratio_var 0 0.2: half of the views stay whole
    mask_generator=dict(
        type='mimplug.BlockMask', ratio=[(0.0, 0.0), (0.3, 0.2)]),
    loss=dict(
        student_temperature=0.1,
        center_momentum=0.9,
        patch_center_momentum=0.9,
        cls_weight=1.0,
        patch_weight=1.0),
    teacher_temperature=dict(start=0.04, final=0.07, warmup_epochs=30),
    patch_temperature=dict(start=0.04, final=0.07, warmup_epochs=30))
