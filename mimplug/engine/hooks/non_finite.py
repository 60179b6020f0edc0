"""Ends a run that makes no step any more."""
from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine import dist
from mmengine.hooks import Hook
from mmengine.logging import print_log

from mimplug.errors import ConfigError, NonFiniteLossError
from mimplug.registry import HOOKS

from ..optim import NormStatistics
from .runtime_info import RuntimeInfoHook, is_log_point


def sample_keys(data_batch: Any) -> list[list[int]]:
    """Keys (epoch, index, repeat) of a batch, where its samples have some.

    Args:
        data_batch (Any): What the loader gave.

    Returns:
        list[list[int]]: One an image; empty if there are none.
    """
    samples = data_batch.get('data_samples') if isinstance(
        data_batch, Mapping) else None
    keys = (getattr(sample, 'sample_key', None) for sample in samples or ())
    return [[int(part) for part in key] for key in keys if key is not None]


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Aborts after too many skipped optimiser steps in a row.

    :class:`mimplug.OptimWrapper` skips steps with a non-finite loss or
    gradient and counts them, equally on all ranks.
    :class:`mimplug.RuntimeInfoHook` reads the count at log points; there all
    ranks raise together, so none is left waiting. Each rank first writes the
    keys of the latest batches that were skipped into the work directory.
    Without both of them nobody counts: the hook says so and does nothing.

    A skipped step leaves the running statistics of batch norms as they were
    before it (:class:`~mimplug.engine.optim.NormStatistics`).

    Args:
        limit (int): Steps in a row, >= 1. The default is more than the 16
            steps that a float16 scaler may need to fall from 65536 to 1.
            Defaults to 20.

    Raises:
        ConfigError: ``limit`` < 1.
        NonFiniteLossError: The limit is reached.
    """

    # after LoggerHook, which shows the last losses, before any checkpoint
    priority = 'LOW'

    def __init__(self, limit: int = 20) -> None:
        if limit < 1:
            raise ConfigError(f'limit={limit}: must be >= 1')
        self.limit = limit
        self.active = True

    def before_train(self, runner: Any) -> None:
        """Looks whether somebody counts."""
        wrapper = runner.optim_wrapper
        self.active = hasattr(wrapper, 'note_counts') and any(
            isinstance(hook, RuntimeInfoHook) for hook in runner.hooks)
        if not self.active:
            print_log(
                'No abort after non-finite losses: NonFiniteHook needs '
                f'mimplug.OptimWrapper (got {type(wrapper).__name__}) and '
                "default_hooks.runtime_info=dict(type='mimplug."
                "RuntimeInfoHook')", logger='current', level=logging.WARNING)
            return
        self.statistics = NormStatistics(runner.model)
        accumulation = wrapper._accumulative_counts
        self.recent: deque[tuple[int, int, list]] = deque(
            maxlen=self.limit * accumulation)

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Remembers which samples came, and the statistics of norms."""
        if not self.active:
            return
        wrapper = runner.optim_wrapper
        if wrapper._inner_count % wrapper._accumulative_counts == 0:
            self.statistics.keep()
        self.recent.append((self._steps(runner), runner.iter + 1,
                            sample_keys(data_batch)))

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Takes back statistics of a skipped step; aborts, if it is time."""
        wrapper = runner.optim_wrapper
        if self.active and wrapper.should_update():
            self.statistics.settle(wrapper.finite)
        if (not self.active or wrapper.known_consecutive < self.limit
                or not is_log_point(runner, batch_idx)):
            return
        path = self._dump(runner)
        raise NonFiniteLossError(
            f'iteration {runner.iter + 1}: the loss or a gradient was not '
            f'finite in the last {wrapper.known_consecutive} optimiser steps '
            f'(limit {self.limit}; {wrapper.known_skipped} skipped in all). '
            f'The keys of their samples are in {path}. Things to try: '
            "optim_wrapper.dtype='bfloat16' or None instead of 'float16', a "
            'lower learning rate, a longer warm-up, a smaller '
            'clip_grad.max_norm; look at those samples')

    @staticmethod
    def _steps(runner: Any) -> int:
        """Optimiser steps that were tried so far."""
        wrapper = runner.optim_wrapper
        return int(wrapper._inner_count // wrapper._accumulative_counts)

    def _dump(self, runner: Any) -> Path:
        """Writes the samples of the latest skipped steps."""
        wrapper, rank = runner.optim_wrapper, dist.get_rank()
        last = self._steps(runner)
        first = last - wrapper.known_consecutive
        report = dict(
            iteration=runner.iter + 1, rank=rank,
            consecutive=wrapper.known_consecutive,
            skipped=wrapper.known_skipped,
            batches=[dict(iteration=iteration, sample_keys=keys)
                     for step, iteration, keys in self.recent
                     if first <= step < last])
        path = Path(runner.work_dir) / (
            f'non_finite_iter_{runner.iter + 1}_rank{rank}.json')
        path.write_text(json.dumps(report, indent=1))
        return path
