# The 100 classes of ImageNet-100 for a linear probe.
_base_ = './imagenet_bs32_linear.py'

data_root = 'data/imagenet/'
data_preprocessor = dict(num_classes=100)

train_dataloader = dict(
    batch_size=64,
    dataset=dict(dataset=dict(
        type='mimplug.ImageNet100', data_root=data_root, split='train')))
val_dataloader = dict(dataset=dict(dataset=dict(
    type='mimplug.ImageNet100', data_root=data_root, split='val')))
