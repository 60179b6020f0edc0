# The thesis' 20 % of ImageNet-1k: the first fifth of each class by file name,
# rounded down. Its list of files is not public; the order and the rounding
# are our reading. AttMask takes 260 images of each class instead. Crops and
# batch are those of train_example.slurm.
_base_ = './imagenet_bs60_attmask-10locals.py'

subset = dict(
    type='mimplug.ClassSubset',
    dataset=dict(type='ImageNet', data_root='data/imagenet/', split='train'),
    share=0.2,
    num_classes=1000)

train_pipeline = [
    dict(type='mimplug.LoadView', truncated=True),
    dict(
        type='mimplug.MultiCrop',
        global_crops=dict(
            num=2, size=224, scale=(0.25, 1.0),
            blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2)),
        local_crops=dict(
            num=6, size=96, scale=(0.05, 0.25), blur_prob=0.5)),
    dict(type='mimplug.PackViews')
]

train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        dataset=dict(_delete_=True, **subset), pipeline=train_pipeline))

# the reference's k-NN bank is the subset as well
knn_bank_dataloader = dict(
    dataset=dict(dataset=dict(_delete_=True, **subset)))
val_cfg = dict(bank=knn_bank_dataloader)
