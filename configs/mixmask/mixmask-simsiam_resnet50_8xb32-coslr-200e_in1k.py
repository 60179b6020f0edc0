# Unverified: MixMask on SimSiam. The paper has it, the released code has not;
# network and optimiser are those of MMPretrain's config.
_base_ = [
    '../_base_/datasets/imagenet_bs32_mocov2.py',
    '../_base_/models/simsiam_resnet50.py',
    '../_base_/schedules/simsiam_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=200)
model = dict(mixes=[
    dict(
        type='mimplug.MaskMix',
        mask_generator=dict(type='mimplug.GridBlockMask', keep=0.5),
        grid=8),
])
auto_scale_lr = dict(base_batch_size=8 * 32)

# the encoder has also seen masked or mixed images: statistics for k-NN anew
val_cfg = dict(precise_bn=64)
