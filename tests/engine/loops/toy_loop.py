"""A run that notes every hook, on numbers that note every reading."""
from __future__ import annotations

from itertools import count
from multiprocessing import Value
from typing import ClassVar

import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import Dataset, default_collate

names = count()

KEYED = dict(type='mimplug.KeyedSampler')
ENDLESS = dict(type='mimplug.KeyedInfiniteSampler')
SHUFFLED = dict(type='DefaultSampler', shuffle=True)
STOCK_ENDLESS = dict(type='InfiniteSampler', shuffle=True)
EPOCHS = dict(type='mimplug.EpochTrainLoop', max_epochs=3)
ITERS = dict(type='mimplug.IterTrainLoop', max_iters=13)


class Numbers(Dataset):
    """0, 1, ... by key or index; counts readings over all workers."""

    metainfo: ClassVar[dict] = {}

    def __init__(self, size=20):
        self.size = size
        self.seed = None
        self.reads = Value('q')  # all workers count

    def __deepcopy__(self, memo):
        return self  # a runner copies its settings

    def bind_seed(self, seed):
        self.seed = seed

    def __len__(self):
        return self.size

    def __getitem__(self, key):
        with self.reads:
            self.reads.value += 1
        epoch, index, repeat = key if isinstance(key, tuple) else (0, key, 0)
        return dict(inputs=torch.tensor([index / self.size]),
                    keys=torch.tensor([epoch, index, repeat]))


class Line(BaseModel):
    """One weight, and the keys that it has seen."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, inputs, keys, mode='tensor'):
        out = self.layer(inputs)
        return dict(loss=out.square().mean()) if mode == 'loss' else list(out)


class Count(BaseMetric):
    """Number of validated samples, the same every time."""

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(count=len(results))


class Events(Hook):
    """Notes hooks, places and keys; may stop after an iteration."""

    priority = 'LOWEST'

    def __init__(self, stop_at=None):
        self.stop_at = stop_at
        self.seen = []
        self.keys = []
        self.positions = {}

    def note(self, name, runner, *more):
        self.seen.append((name, runner.epoch, runner.iter, *more))

    def before_train(self, runner):
        self.note('before_train', runner)

    def before_train_epoch(self, runner):
        self.note('before_train_epoch', runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.keys.append(data_batch['keys'].tolist())
        self.note('iter', runner, batch_idx, self.keys[-1],
                  round(float(outputs['loss'].detach()), 7))
        self.place(runner, 'iter', runner.iter + 1)
        if runner.iter + 1 == self.stop_at:
            runner.train_loop.stop_training = True

    def after_train_epoch(self, runner):
        self.note('after_train_epoch', runner)
        self.place(runner, 'epoch', runner.iter)

    def before_val_epoch(self, runner):
        self.note('val', runner)

    def after_val_epoch(self, runner, metrics=None):
        self.place(runner, 'val', runner.iter)

    def after_train(self, runner):
        self.note('after_train', runner)

    def place(self, runner, moment, iterations):
        if hasattr(runner.train_loop, 'position_at'):
            self.positions[moment, iterations] = (
                runner.train_loop.position_at(iterations))


def make_run(work_dir, train_cfg, sampler=KEYED, *, size=20, batch=4,
             accumulation=1, stop_at=None, validate=False, hooks=(),
             loader=(), data=None, **kwargs):
    """A runner on CPU; its events are in ``runner.events``."""
    torch.manual_seed(0)
    if validate:
        kwargs.update(
            val_cfg=dict(), val_evaluator=[Count()],
            val_dataloader=loader_of(Numbers(3), dict(
                type='DefaultSampler', shuffle=False), batch_size=2))
    kwargs.setdefault('optim_wrapper', dict(
        type='mimplug.OptimWrapper', accumulative_counts=accumulation,
        optimizer=dict(type='SGD', lr=0.1)))
    if not isinstance(loader, torch.utils.data.DataLoader):
        loader = loader_of(data or Numbers(size), sampler, batch_size=batch,
                           drop_last=True, **dict(loader))
    events = Events(stop_at)
    runner = Runner(
        model=Line(), work_dir=str(work_dir), train_cfg=train_cfg,
        train_dataloader=loader, custom_hooks=[*hooks, events],
        default_hooks=dict(checkpoint=None), default_scope='mmpretrain',
        experiment_name=f'loops-{next(names)}', log_level='WARNING',
        randomness=dict(seed=7), **kwargs)
    runner.events = events
    return runner


def loader_of(data, sampler, **kwargs):
    """Settings of a loader."""
    return {**dict(dataset=data, sampler=sampler, num_workers=0,
                   collate_fn=default_collate), **kwargs}


def resume(runner, position, weights=None):
    """What the runner and the checkpoint hook do with a checkpoint."""
    meta = dict(epoch=-1, iter=-1, position=dict(position))
    runner.train_loop.restore(meta)
    runner.train_loop._epoch = meta['epoch']
    runner.train_loop._iter = meta['iter']
    if weights is not None:
        runner.model.load_state_dict(weights)
    return meta


def train(*args, **kwargs):
    """The events of a whole run."""
    runner = make_run(*args, **kwargs)
    runner.train()
    return runner.events


def tail(events, iterations):
    """What an undisturbed run does after that many iterations."""
    last = [i for i, event in enumerate(events.seen)
            if event[0] == 'iter' and event[2] < iterations]
    start = last[-1] + 1 if last else 0
    return [event for event in events.seen[start:]
            if not event[0].startswith('before')]


def body(events):
    """What a resumed run does, without what every run does at its start."""
    return [event for event in events.seen
            if not event[0].startswith('before')]
