"""A run of known length that sends itself a signal; for configs.

``tests/`` must be on the path.
"""
from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS, MODELS
from torch import nn

CONFIG = """
custom_imports = dict(
    imports=['toy', 'toy_signals'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(type='DropoutModel')
train_dataloader = dict(
    batch_size=2, num_workers=0, dataset=dict(type='ToyData'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'))
train_cfg = dict(type='mimplug.EpochTrainLoop', max_epochs=6)
optim_wrapper = dict(
    type='mimplug.OptimWrapper', optimizer=dict(type='AdamW', lr=0.01))
param_scheduler = dict(type='CosineAnnealingLR', by_epoch=False)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1),
    checkpoint=dict(type='mimplug.CheckpointHook', interval=2),
    signals=dict(type='mimplug.SignalHook'))
randomness = dict(seed=0)
"""


@MODELS.register_module(force=True)
class DropoutModel(BaseModel):
    """A layer behind stock dropout."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Sequential(nn.Dropout(0.5), nn.Linear(1, 3))

    def forward(self, inputs, mode='tensor'):
        return dict(loss=self.layer(inputs).square().mean())


@HOOKS.register_module(force=True)
class Kick(Hook):
    """Sends signals to its own process.

    Args:
        name (str): The signal.
        at (int): Iterations done.
        rank (int): Which process.
        again (float): Seconds after which it is sent once more. 0: never.
    """

    def __init__(self, name, at, rank=0, again=0.0):
        self.number = signal.Signals[name]
        self.at, self.rank, self.again = at, rank, again

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.at and get_rank() == self.rank:
            os.kill(os.getpid(), self.number)
            if self.again:
                time.sleep(self.again)
                os.kill(os.getpid(), self.number)


@HOOKS.register_module(force=True)
class Crawl(Hook):
    """Says how far the run is and makes every iteration take a moment."""

    def __init__(self, seconds):
        self.seconds = seconds

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        Path(runner.work_dir, f'at_{get_rank()}').write_text(
            str(runner.iter + 1))
        time.sleep(self.seconds)


def weights(path):
    """All tensors that a run has trained."""
    content = torch.load(path, weights_only=True)
    states = content['optimizer']['state'].values()
    return [*content['state_dict'].values(),
            *(state[name] for state in states
              for name in ('exp_avg', 'exp_avg_sq'))]


def equal(left, right):
    """Whether two checkpoints hold the same bits."""
    return all(map(torch.equal, weights(left), weights(right)))
