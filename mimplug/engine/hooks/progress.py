"""Tells an algorithm where the run stands."""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from mmengine import dist
from mmengine.hooks import Hook

from mimplug.engine.loops import data_epoch, data_epochs
from mimplug.errors import ConfigError
from mimplug.evaluation import bare_model
from mimplug.registry import HOOKS
from mimplug.schedules import Progress


def run_progress(runner: Any) -> Progress:
    """Position of a runner in optimiser steps.

    Args:
        runner (Runner): MMEngine's runner inside a training loop.

    Returns:
        Progress: Steps, epochs and their totals, all host integers; skipped
        steps as of the latest log point.

    Raises:
        ConfigError: The training data do not fill a single batch.
    """
    wrapper = runner.optim_wrapper
    accumulation = int(getattr(wrapper, '_accumulative_counts', 1))
    if len(runner.train_dataloader) == 0:
        raise ConfigError(
            f'train_dataloader: {len(runner.train_dataloader.dataset)} images '
            f'on {dist.get_world_size()} process(es) do not fill a batch of '
            f'{runner.train_dataloader.batch_size} a process, and '
            'drop_last=True drops the rest; lower batch_size')
    return Progress(
        step=int(wrapper._inner_count) // accumulation,
        max_steps=math.ceil(runner.max_iters / accumulation),
        epoch=data_epoch(runner),
        max_epochs=data_epochs(runner),
        skipped=int(getattr(wrapper, 'known_skipped', 0)))


@HOOKS.register_module()
class ProgressHook(Hook):
    """Hands position and seed of the run to what draws in it.

    That is the algorithm, or for stock algorithms their data preprocessor
    (:class:`mimplug.MaskingDataPreprocessor`). For those whose draws or
    schedules depend on the position but that have no teacher of ours to be
    moved, such as ``mimplug.SimMIM``; :class:`mimplug.TeacherHook` does the
    same and moves the teacher.

    Raises:
        ConfigError: Neither has a ``set_progress``.
    """

    def before_train(self, runner: Any) -> None:
        """Checks the algorithm and gives it the seed of the run."""
        receivers = list(self._receivers(runner))
        if not receivers:
            raise ConfigError(
                f'{type(self).__name__}: '
                f'{type(bare_model(runner.model)).__name__} has no '
                'set_progress(); of the stock algorithms take mimplug.SimMIM, '
                'mimplug.BEiT, mimplug.MAE …, or give one of the siamese '
                "ones data_preprocessor=dict(type='mimplug."
                "MaskingDataPreprocessor', ...)")
        for receiver in receivers:
            if getattr(receiver, 'draws_seed', 0) is None:
                # ranks may have seeds of their own (diff_rank_seed)
                seed = [runner.seed]
                dist.broadcast_object_list(seed)
                receiver.draws_seed = seed[0]
        # a run resumed at its very end has no iteration that would do it
        self._tell(runner)

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Sets the position of this iteration."""
        self._tell(runner)

    def _receivers(self, runner: Any) -> Iterator[Any]:
        """Model and data preprocessor, as far as they want to know."""
        model = bare_model(runner.model)
        for part in (model, getattr(model, 'data_preprocessor', None)):
            if hasattr(part, 'set_progress'):
                yield part

    def _tell(self, runner: Any) -> None:
        """Sets the position."""
        progress = run_progress(runner)
        for receiver in self._receivers(runner):
            receiver.set_progress(progress)
