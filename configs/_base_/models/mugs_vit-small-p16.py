# Mugs on ViT-S/16: the arguments that all published runs of sail-sg/mugs
# share, and ViT-S's.
model = dict(
    type='mimplug.Mugs',
    backbone=dict(
        type='mimplug.LocalGroupViT',
        # width 384, 12 layers, 6 heads ('small' of MMPretrain is another
        # network)
        arch='deit-small',
        img_size=224,
        patch_size=16,
        # of the student; the teacher is built without
        drop_path_rate=0.1,
        # position embedding of 96 px crops as the published weights saw it
        interpolate_offset=0.1,
        num_relation_blocks=1),
    # heads: 2048 wide inside, 256 out; predictors 4096; no batch norm
    instance=dict(queue=65536, temperature=0.2),
    local_group=dict(
        queue=65536,
        temperature=0.2,
        memory=65536,
        neighbours=8,
        # as released and, by our reading, as the published weights were
        # trained; it leaves up to half of the teacher's memory unwritten.
        # False is the ring buffer that was meant
        legacy_pointer=True),
    group=dict(
        head=dict(num_prototypes=65536, norm_last_layer=False),
        student_temperature=0.1,
        center_momentum=0.9,
        teacher_temperature=dict(start=0.04, final=0.07, warmup_epochs=30)))
