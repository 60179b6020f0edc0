"""What tests of checkpoints look at, and a run that dies."""
from __future__ import annotations

from pathlib import Path

import torch
from mmengine.hooks import Hook

EPOCHS = ['mimplug.EpochTrainLoop', 'EpochBasedTrainLoop']


def saved(runner):
    """Names of the checkpoints in the work directory."""
    return sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))


def load(runner, name):
    """A checkpoint, read without running code."""
    return torch.load(Path(runner.work_dir) / name, weights_only=True)


def same(left, right):
    """Whether two nested states are equal to the bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def lines_of(runner, monkeypatch):
    """Collects the warnings of the runner."""
    lines = []
    monkeypatch.setattr(runner.logger, 'warning', lines.append)
    return lines


class Stop(Hook):
    """Ends the process after some iterations, as a crash would."""

    priority = 'LOWEST'

    def __init__(self, iterations):
        self.iterations = iterations

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        if runner.iter + 1 == self.iterations:
            raise KeyboardInterrupt
