"""Tiny configs of MMPretrain's siamese algorithms behind our masks."""
from __future__ import annotations

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mimplug.schedules import Progress

SIDE, WIDTH, BATCH, QUEUE = 32, 32, 4, 16
# no max pooling: 32 pixels end as a map of 4 x 4
BACKBONE = dict(type='ResNet_CIFAR', depth=18, stem_channels=4,
                base_channels=4)


def mlp(**kwargs) -> dict:
    """A projector or predictor."""
    return dict(type='NonLinearNeck', in_channels=WIDTH, hid_channels=16,
                out_channels=8, num_layers=2, with_avg_pool=True, **kwargs)


def predictor() -> dict:
    """What BYOL and SimSiam put behind the projector."""
    return dict(type='LatentPredictHead', loss=dict(
        type='CosineSimilarityLoss'), predictor=dict(
            type='NonLinearNeck', in_channels=8, hid_channels=16,
            out_channels=8, num_layers=2, with_avg_pool=False))


def contrast() -> dict:
    """InfoNCE."""
    return dict(type='ContrastiveHead', temperature=0.2,
                loss=dict(type='CrossEntropyLoss'))


def mocov3() -> dict:
    """MoCo v3, on a ResNet."""
    return dict(
        type='MoCoV3', base_momentum=0.01, neck=mlp(),
        head=dict(type='MoCoV3Head', temperature=1.0, loss=dict(
            type='CrossEntropyLoss'), predictor=predictor()['predictor']))


STOCK = dict(
    simclr=lambda: dict(type='SimCLR', neck=mlp(), head=contrast()),
    byol=lambda: dict(type='BYOL', base_momentum=0.01, neck=mlp(),
                      head=predictor()),
    simsiam=lambda: dict(type='SimSiam', neck=mlp(), head=predictor()),
    moco=lambda: dict(
        type='MoCo', queue_len=QUEUE, feat_dim=8, momentum=0.001,
        neck=dict(type='MoCoV2Neck', in_channels=WIDTH, hid_channels=16,
                  out_channels=8), head=contrast()),
    barlowtwins=lambda: dict(
        type='BarlowTwins', neck=mlp(), head=dict(
            type='LatentCrossCorrelationHead', in_channels=8, loss=dict(
                type='CrossCorrelationLoss'))),
    mocov3=mocov3)

# Small versions of every fill.
FILLS = dict(
    constant=dict(type='ConstantFill'), mean=dict(type='MeanFill'),
    blur=dict(type='BlurFill', kernel_size=5, sigma=1.4),
    noise=dict(type='NoiseFill'),
    fresh=dict(type='NoiseFill', patch='fresh'),
    high_pass=dict(type='HighPassFill', kernel_size=3, sigma=0.7),
    mix=dict(type='MixFill'))


def masked(fill='noise', views=(0, ), ratio=0.25, **kwargs) -> dict:
    """A data preprocessor that masks at random."""
    generator = kwargs.pop('mask_generator', None) or dict(
        type='RandomMask', ratio=ratio)
    entry = dict(views=list(views), mask_generator=generator, cells=4,
                 fill=FILLS[fill])
    return dict(type='mimplug.MaskingDataPreprocessor', view_masks=[entry],
                **kwargs)


def build(name: str, preprocessor: dict | None = None, seed=0):
    """An algorithm with initial weights, at the start of a run."""
    torch.manual_seed(seed)
    model = MODELS.build(dict(
        STOCK[name](), backbone=dict(BACKBONE),
        data_preprocessor=preprocessor or masked()))
    model.init_weights()
    if hasattr(model.data_preprocessor, 'set_progress'):
        model.data_preprocessor.set_progress(Progress(step=0, max_steps=2))
    return model


def make_batch(batch=BATCH, views=2, seed=0, side=SIDE) -> dict:
    """What a loader gives: uint8 views and keyed samples."""
    generator = torch.Generator().manual_seed(seed)
    inputs = [torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8,
                            generator=generator) for _ in range(views)]
    samples = [DataSample(metainfo=dict(sample_key=(0, 10 + i, 0)))
               for i in range(batch)]
    return dict(inputs=inputs, data_samples=samples)
