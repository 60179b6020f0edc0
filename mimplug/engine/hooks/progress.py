"""Tells an algorithm where the run stands."""
from __future__ import annotations

import math
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
    """Hands position and seed of the run to the algorithm.

    For algorithms whose draws or schedules depend on them but that have no
    teacher of ours to be moved, such as ``mimplug.SimMIM``;
    :class:`mimplug.TeacherHook` does the same and moves the teacher.

    Raises:
        ConfigError: The model has no ``set_progress``.
    """

    def before_train(self, runner: Any) -> None:
        """Checks the algorithm and gives it the seed of the run."""
        model = bare_model(runner.model)
        if not hasattr(model, 'set_progress'):
            raise ConfigError(
                f'{type(self).__name__}: {type(model).__name__} has no '
                'set_progress(); of the stock algorithms take mimplug.SimMIM, '
                'mimplug.BEiT, mimplug.MAE …')
        if getattr(model, 'draws_seed', 0) is None:
            # ranks may have seeds of their own (diff_rank_seed)
            seed = [runner.seed]
            dist.broadcast_object_list(seed)
            model.draws_seed = seed[0]
        # a run resumed at its very end has no iteration that would do it
        model.set_progress(run_progress(runner))

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Sets the position of this iteration."""
        bare_model(runner.model).set_progress(run_progress(runner))
