"""Runs of a small network that uses the global random generators."""
from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn


class Dropped(BaseModel):
    """Two layers with stock dropout and draws of three generators."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Dropout(0.5),
            nn.Linear(8, 2))

    def forward(self, inputs, data_samples=None, mode='tensor'):
        noise = random.random() + np.random.rand()
        out = self.body(torch.stack(inputs))
        return dict(loss=(out - noise).square().mean())


class Numbers(torch.utils.data.Dataset):
    """Ten pairs of numbers, with a classes array as metainfo."""

    metainfo = dict(classes=('a', 'b'), weights=np.ones(2))  # noqa: RUF012

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([index / 10, 1 - index / 10]))


@pytest.fixture
def make_run(tmp_path):
    """Builds a runner: 5 iterations an epoch, 3 epochs by default."""
    made = []

    def make(work='run', *, loop='mimplug.EpochTrainLoop', accumulation=1,
             hooks=(), resume=False, load_from=None, total=3,
             default_hooks=None, val=None, **checkpoint):
        torch.manual_seed(0)
        made.append(work)
        count = 'max_iters' if 'Iter' in loop else 'max_epochs'
        return Runner(
            model=Dropped(), work_dir=str(tmp_path / work),
            train_cfg=dict(type=loop, **{count: total}),
            train_dataloader=dict(
                dataset=Numbers(), batch_size=2, num_workers=0,
                sampler=dict(type='DefaultSampler' if 'Epoch' in loop
                             else 'InfiniteSampler', shuffle=True),
                collate_fn=dict(type='pseudo_collate')),
            optim_wrapper=dict(
                type='mimplug.OptimWrapper',
                accumulative_counts=accumulation,
                optimizer=dict(type='AdamW', lr=0.05)),
            param_scheduler=dict(type='LinearLR', by_epoch=False, end=9),
            default_hooks=default_hooks or dict(checkpoint=dict(
                type='mimplug.CheckpointHook', **checkpoint)),
            custom_hooks=list(hooks), default_scope='mmpretrain',
            randomness=dict(seed=3), resume=resume, load_from=load_from,
            experiment_name=f'{tmp_path.name}-{len(made)}', **(val or {}))

    return make
