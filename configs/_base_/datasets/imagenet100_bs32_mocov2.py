# The 100 classes of ImageNet-100, read from the folders of ImageNet-1k.
_base_ = './imagenet_bs32_mocov2.py'

data_root = 'data/imagenet/'

train_dataloader = dict(dataset=dict(dataset=dict(
    type='mimplug.ImageNet100', data_root=data_root, split='train')))
val_dataloader = dict(dataset=dict(dataset=dict(
    type='mimplug.ImageNet100', data_root=data_root, split='val')))
knn_bank_dataloader = dict(dataset=dict(dataset=dict(
    type='mimplug.ImageNet100', data_root=data_root, split='train')))
val_cfg = dict(bank=knn_bank_dataloader)
