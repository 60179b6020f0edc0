"""A model, a data set and a config for runs of a second.

The config imports this file, so ``tests/`` must be on its path.
"""
from __future__ import annotations

from typing import ClassVar

import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, METRICS, MODELS
from torch import nn
from torch.utils.data import Dataset

CONFIG = """
custom_imports = dict(imports=['toy'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(type='ToyModel')
loader = dict(
    batch_size=2, num_workers=0, dataset=dict(type='ToyData'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
train_dataloader = loader
val_dataloader = loader
val_evaluator = dict(type='ToyMetric')
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
optim_wrapper = dict(
    type='mimplug.OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
default_hooks = dict(logger=dict(type='LoggerHook', interval=1))
auto_scale_lr = dict(base_batch_size=4)
"""


@DATASETS.register_module(force=True)
class ToyData(Dataset):
    """Eight numbers; ``full_init`` is what MMEngine asks for."""

    metainfo: ClassVar[dict] = {}

    def full_init(self):
        pass

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return dict(inputs=torch.full((1, ), float(index)))


@MODELS.register_module(force=True)
class ToyModel(BaseModel):
    """One weight."""

    def __init__(self, width=1):
        super().__init__()
        self.layer = nn.Linear(1, width)

    def forward(self, inputs, mode='tensor'):
        out = self.layer(inputs)
        if mode == 'loss':
            world = torch.tensor(float(get_world_size()))
            return dict(loss=out.square().mean(), world=world)
        return [float(value) for value in out]


@METRICS.register_module(force=True)
class ToyMetric(BaseMetric):
    """Counts the samples."""

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(count=len(results))
