# MoCo on CIFAR-100 as the baseline of Un-Mix (unmix_c100.py): symmetric loss,
# linear head, 1,000 epochs on one GPU.
_base_ = [
    '../_base_/datasets/cifar100_bs512_mocov2.py',
    '../_base_/models/moco_resnet18-cifar.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=1000)
optim_wrapper = dict(optimizer=dict(lr=0.06, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=1 * 512)
