# Unverified: MoCo v2 on ImageNet-100, the baseline of saliency-guided MoCo.
# Its settings are not published; assumed are those of the masked runs.
_base_ = [
    '../_base_/datasets/imagenet100_bs32_mocov2.py',
    '../_base_/models/moco_resnet50.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=200)
optim_wrapper = dict(optimizer=dict(lr=0.03 * 4 * 32 / 256))
auto_scale_lr = dict(base_batch_size=4 * 32)
