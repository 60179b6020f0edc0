# Unverified: Un-Mix on CIFAR-100. Network and optimiser are those of
# unmix_c100.py; the share of global mixes there was not seen, and the script
# mixes the first view and compares it with both keys, while here each view is
# mixed and compared with the key of the other.
_base_ = [
    '../_base_/datasets/cifar100_bs512_mocov2.py',
    '../_base_/models/moco_resnet18-cifar.py',
    '../_base_/schedules/moco_sgd-coslr.py',
    '../_base_/default_runtime.py',
]

train_cfg = dict(max_epochs=1000)
model = dict(mixes=[dict(type='mimplug.UnMix', prob=0.5, beta=1.0)])
optim_wrapper = dict(optimizer=dict(lr=0.06, weight_decay=5e-4))
auto_scale_lr = dict(base_batch_size=1 * 512)
