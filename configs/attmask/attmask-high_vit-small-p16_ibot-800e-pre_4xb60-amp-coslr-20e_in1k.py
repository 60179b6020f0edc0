# Unverified: nobody published this setting, the numbers below are our choice.
# Goes on from the public weights of iBOT ViT-S/16 (full checkpoint of
# bytedance/ibot, `vits_16/checkpoint.pth`) with AttMask-High. The student
# starts from the teacher in the file, backbone and head; the new teacher is a
# copy of it.
_base_ = [
    '../_base_/datasets/imagenet_bs60_attmask-10locals.py',
    '../_base_/models/attmask_vit-small-p16.py',
    '../_base_/schedules/ibot_adamw-coslr.py',
    '../_base_/default_runtime.py',
]

# on the command line: model.backbone.init_cfg.checkpoint=FILE and
# model.head.init_cfg.checkpoint=FILE
checkpoint = 'checkpoints/ibot_vits_16_checkpoint.pth'

model = dict(
    backbone=dict(
        init_cfg=dict(
            type='mimplug.Pretrained',
            checkpoint=checkpoint,
            key='teacher',
            converter='ibot',
            prefix='backbone.',
            # a teacher has none; it starts at zero, as in a new run
            allow_missing=['mask_token'])),
    head=dict(
        init_cfg=dict(
            type='mimplug.Pretrained',
            checkpoint=checkpoint,
            key='teacher',
            converter='ibot',
            prefix='head.')),
    # the network is trained: no warm-up from 0.04
    teacher_temperature=dict(start=0.07, final=0.07, warmup_epochs=0),
    patch_temperature=dict(start=0.07, final=0.07, warmup_epochs=0))

train_cfg = dict(max_epochs=20, val_interval=5)
# a fifth of the published rate of this batch
optim_wrapper = dict(optimizer=dict(lr=1e-4 * 4 * 60 / 256))
auto_scale_lr = dict(base_batch_size=4 * 60)

param_scheduler = [
    dict(
        type='mimplug.WarmupCosineLR',
        # shorter with the run: 10 in the published ones
        warmup=2,
        final=1e-6,
        convert_to_iter_based=True),
    dict(
        type='mimplug.CosineWeightDecay',
        final=0.4,
        convert_to_iter_based=True),
]
# the prototypes are trained, so FreezeHook has no purpose here
custom_hooks = [
    dict(type='mimplug.TeacherHook', momentum=0.996, final_momentum=1.0),
    dict(type='mimplug.MaskPictureHook', interval=5),
]
