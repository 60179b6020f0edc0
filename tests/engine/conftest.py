"""A runner of a few iterations on a small model."""
from __future__ import annotations

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn


class Algorithm(BaseModel):
    """Two layers, and a record of what the hooks told it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.last_layer = nn.Linear(2, 2)
        self.draws_seed = None
        self.seen, self.ended, self.moved = [], [], []

    def set_progress(self, progress):
        self.progress = progress

    def step_end(self, momentum, finite=None):
        self.ended.append((self.progress.step, momentum))
        self.moved.append(finite)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.seen.append(self.progress)
        out = self.last_layer(self.body(torch.stack(inputs)))
        return dict(loss=out.square().mean())


@pytest.fixture
def make_runner(tmp_path):
    """Builds a runner: 5 iterations an epoch, 2 epochs by default."""

    def make(hooks=(), *, model=None, epochs=2, accumulation=1, seed=7,
             name='run', **kwargs):
        torch.manual_seed(0)
        kwargs.setdefault('optim_wrapper', dict(
            type='mimplug.OptimWrapper',
            constructor='mimplug.TwoGroupConstructor',
            accumulative_counts=accumulation,
            clip_grad=dict(max_norm=1.0),
            optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.04)))
        kwargs.setdefault('randomness', dict(seed=seed))
        return Runner(
            model=model or Algorithm(), work_dir=str(tmp_path),
            train_cfg=dict(by_epoch=True, max_epochs=epochs),
            train_dataloader=dict(
                dataset=[dict(inputs=torch.full((2,), float(i)))
                         for i in range(10)],
                sampler=dict(type='DefaultSampler', shuffle=False),
                collate_fn=dict(type='pseudo_collate'),
                batch_size=2, num_workers=0),
            custom_hooks=list(hooks), default_scope='mmpretrain',
            experiment_name=f'{tmp_path.name}-{name}', **kwargs)

    return make
