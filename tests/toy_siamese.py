"""Small siamese algorithms and their inputs, for the tests of packages."""
from __future__ import annotations

import logging
from functools import cache
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mimplug.schedules import Progress
from mimplug.utils import register_all_modules

WIDTH, DIM = 4, 8
# 32 pixels become maps of 16, 8, 4 and 2
BACKBONE = dict(type='ResNet_CIFAR', depth=18, stem_channels=WIDTH,
                base_channels=WIDTH, strides=(2, 2, 2, 2))
NECK = dict(type='MoCoV2Neck', in_channels=8 * WIDTH, hid_channels=16,
            out_channels=DIM)
PROJECTOR = dict(type='NonLinearNeck', in_channels=8 * WIDTH, hid_channels=16,
                 out_channels=DIM, num_layers=2, with_bias=True,
                 norm_cfg=dict(type='BN1d'))
HEAD = dict(
    type='LatentPredictHead', loss=dict(type='CosineSimilarityLoss'),
    predictor=dict(PROJECTOR, in_channels=DIM, with_avg_pool=False,
                   with_last_bn=False, with_last_bias=True))
ALGORITHMS: dict[str, dict[str, Any]] = {
    'MoCo': dict(neck=NECK, queue=10),
    'SaliencyMoCo': dict(neck=NECK, queue=10),
    'SimCLR': dict(neck=PROJECTOR),
    'BYOL': dict(neck=PROJECTOR, head=HEAD),
    'SimSiam': dict(neck=PROJECTOR, head=HEAD),
}
# without a norm that looks at other images
GROUP_NORM = dict(type='GN', num_groups=2)
MEAN = dict(type='mimplug.MeanFill')
RANDOM = dict(type='mimplug.RandomMask', ratio=0.4)
HARD = dict(mask_generator=dict(RANDOM, ratio=0.6), fill=MEAN, cells=4)
MIXES = [dict(type='mimplug.UnMix'), dict(
    type='mimplug.MaskMix', grid=4, mask_generator=RANDOM)]


def view_mask(generator: Any = RANDOM, fill: Any = MEAN,
              **kwargs: Any) -> dict:
    """One masked view on 4 x 4 cells."""
    return dict(dict(mask_generator=generator, fill=fill, cells=4), **kwargs)


@cache
def register() -> None:
    """Once; and MMEngine keeps quiet about initial weights."""
    register_all_modules()
    MMLogger.get_instance('mmengine').setLevel(logging.WARNING)


def tiny_siamese(name: str, seed: int = 0, backbone: Any = (),
                 **kwargs: Any) -> Any:
    """An algorithm of ours on a tiny ResNet, ready for its first step."""
    register()
    torch.manual_seed(seed)
    model = MODELS.build({
        'type': f'mimplug.{name}', 'backbone': {**BACKBONE, **dict(backbone)},
        **ALGORITHMS[name], 'draws_seed': 1, **kwargs})
    model.init_weights()
    model.set_progress(Progress(step=0, max_steps=10))
    return model


def two_views(batch: int = 4, size: int = 32, seed: int = 1,
              dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    """Two views that resemble each other."""
    generator = torch.Generator().manual_seed(seed)
    base, *noise = (torch.randn(batch, 3, size, size, generator=generator)
                    for _ in range(3))
    return [(base + 0.3 * part).to(dtype) for part in noise]


def samples(batch: int = 4, first: int = 0) -> list[DataSample]:
    """Data samples with keys."""
    return [DataSample(metainfo=dict(sample_key=(0, first + i, 0)))
            for i in range(batch)]


def total(losses: dict[str, torch.Tensor]) -> torch.Tensor:
    """What MMEngine would minimise."""
    return torch.stack([value for name, value in losses.items()
                        if 'loss' in name]).sum()


def norm_free(model: nn.Module) -> bool:
    """Whether no norm of it looks at other images."""
    return not any(isinstance(part, nn.modules.batchnorm._BatchNorm)
                   for part in model.modules())
