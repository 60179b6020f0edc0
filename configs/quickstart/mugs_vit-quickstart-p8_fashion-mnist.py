# Mugs on the 2,000 embedded images, in minutes on two CPU cores: the budget of
# the AttMask quickstart (network, batch, epochs). The method is the published
# one; sizes are chosen for small grey pictures. k-NN (k = 20) of the teacher,
# seeds 0, 1, 2: 67.9, 65.5, 67.5 % at the end, 56.4, 60.0, 59.2 at step 0; see
# docs/mugs.md.
_base_ = './attmask_vit-quickstart-p8_fashion-mnist.py'

image_size, local_size = _base_.image_size, _base_.local_size

# grey images: no colours to change; 28 px have no detail to blur away
weak = dict(
    jitter=(0.4, 0.4, 0.0, 0.0), jitter_prob=1.0, gray_prob=0.0,
    blur_prob=0.0, solarize_prob=0.0)
train_pipeline = [
    dict(type='mimplug.LoadView', pad_to=image_size),
    dict(
        type='mimplug.MugsMultiCrop',
        global_crops=dict(num=2, size=image_size, scale=(0.3, 1.0), **weak),
        local_crops=dict(num=2, size=local_size, scale=(0.1, 0.4), **weak),
        # published: 9, which moves a picture by 40 % of its side; these fill
        # their 28 px, and their background is black
        strong=dict(rand_augment=dict(magnitude=5.0, fill=(0, 0, 0)))),
    dict(type='mimplug.PackViews')
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

embedding = dict(
    hidden_channels=256, out_channels=64, predictor_channels=256)
model = dict(
    _delete_=True,
    type='mimplug.Mugs',
    data_preprocessor=_base_.data_preprocessor,
    backbone=dict(
        type='mimplug.LocalGroupViT',
        arch=dict(
            embed_dims=96,
            num_layers=3,
            num_heads=3,
            feedforward_channels=384),
        img_size=image_size,
        patch_size=8,
        interpolate_offset=0.1),
    # 16 steps of teacher embeddings, 16 steps of images
    instance=dict(queue=1024, head=embedding),
    local_group=dict(queue=1024, memory=512, neighbours=8, head=embedding),
    group=dict(
        head=dict(
            num_prototypes=128,
            hidden_channels=256,
            bottleneck_channels=64),
        teacher_temperature=_base_.temperature))

custom_hooks = [
    # the loader's worker has the second core
    dict(type='mimplug.ThreadsHook', num_threads=1),
    dict(type='mimplug.TeacherHook', momentum=0.99, final_momentum=1.0),
    dict(type='mimplug.FreezeHook', names=['last_layer'], epochs=1),
    dict(type='mimplug.KNNReportHook'),
]
