# Localiser, masks and fills of saliency-guided MoCo, for MoCo and SimCLR:
# saliency={{_base_.localiser}}, **_base_.saliency_masks['hp'].

# The released localiser: torchvision's ResNet-50 with IMAGENET1K_V2 weights.
# It was trained with the labels of ImageNet, so a run with it is not free of
# labels. Without any: saliency=dict(type='mimplug.SCDA', supervised=False),
# the model's own key encoder.
localiser = dict(
    type='mimplug.SCDA',
    backbone=dict(
        type='ResNet',
        depth=50,
        init_cfg=dict(
            type='mimplug.Pretrained',
            checkpoint='checkpoints/resnet50-11ad3fa6.pth',
            allow_unexpected=['fc.*'])),
    supervised=True)

# 5 to 25 % of the cells of the query, object and background alike
query_mask = dict(type='mimplug.SaliencyMask', ratio=(0.05, 0.25))
# 40 to 70 % of the object
hard_mask = dict(
    type='mimplug.SaliencyMask', mode='foreground', ratio=(0.4, 0.7))
# on the logits of hard negatives; the released script's default is 1
alpha = 2.0

# hp: with probability 0.2 one square, else cells, the same ones in all
# channels (0.3) or others in each (0.7)
kinds = (0.2, 0.8 * 0.3, 0.8 * 0.7)


def mixed(square, cells):
    return dict(
        type='mimplug.MixedMask',
        generators=[
            square,
            dict(cells, cap=0.55),
            dict(cells, cap=0.55, channelwise=True),
        ],
        probs=kinds,
        cells=7)


saliency_masks = dict(
    hp=dict(
        # all images, in training and in every evaluation
        input_filter=dict(
            type='mimplug.HighPass', kernel_size=11, sigma=5.0),
        view_masks=[
            dict(
                views=[0],
                mask_generator=mixed(
                    dict(type='mimplug.FocalMask', side=200 / 224),
                    query_mask),
                fill=dict(type='mimplug.NoiseFill', std=0.18)),
        ],
        hard_negative=dict(
            mask_generator=mixed(
                dict(type='mimplug.FocalMask', side=130 / 224,
                     hide='inside'),
                hard_mask),
            fill=dict(type='mimplug.NoiseFill', std=0.14),
            num=1,
            alpha=alpha)),
    blur=dict(
        view_masks=[
            dict(
                views=[0],
                mask_generator=query_mask,
                fill=dict(
                    type='mimplug.BlurFill', kernel_size=31, sigma=10.0),
                cells=7),
        ],
        hard_negative=dict(
            mask_generator=hard_mask,
            fill=dict(type='mimplug.BlurFill', kernel_size=31, sigma=10.0),
            cells=7,
            num=1,
            alpha=alpha)),
    mean=dict(
        view_masks=[
            dict(
                views=[0],
                mask_generator=query_mask,
                fill=dict(type='mimplug.MeanFill'),
                cells=7),
        ],
        hard_negative=dict(
            mask_generator=hard_mask,
            fill=dict(type='mimplug.MeanFill'),
            cells=7,
            num=1,
            alpha=alpha)))
del alpha, hard_mask, kinds, mixed, query_mask
