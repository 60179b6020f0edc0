"""Ratios that change in the course of a run."""
from __future__ import annotations

import math

import numpy as np

from mimplug.errors import ConfigError, check_choice
from mimplug.masking.context import MaskContext
from mimplug.masking.ratios import (
    RatioLike,
    Ratios,
    RatioSampler,
    build_ratio,
)
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class ScheduledRatio(RatioSampler):
    r"""Moves from one sampler to another over the run.

    .. math:: r = (1 - w)\, r_{start} + w\, r_{end}

    with w = t ('linear') or :math:`(1 - \cos \pi t) / 2` ('cosine'), t being
    the share of the optimiser steps that is done. Both ends draw under the
    same name, so uniform ranges are interpolated as ranges.

    Args:
        start (RatioSampler | float | Sequence | dict): At the first step.
        end (RatioSampler | float | Sequence | dict): At the last step.
        curve (str): 'linear' or 'cosine'. Defaults to 'linear'.
    """

    def __init__(self, start: RatioLike, end: RatioLike,
                 curve: str = 'linear') -> None:
        check_choice('curve', curve, ('linear', 'cosine'))
        self.start, self.end = build_ratio(start), build_ratio(end)
        self.curve = curve
        self.batch_coupled = (
            self.start.batch_coupled or self.end.batch_coupled)

    @property
    def bounds(self) -> tuple[float, float]:
        ends = (*self.start.bounds, *self.end.bounds)
        return min(ends), max(ends)

    def __call__(self, context: MaskContext, name: str = 'ratio') -> Ratios:
        weight = context.progress.fraction
        if self.curve == 'cosine':
            weight = (1 - math.cos(math.pi * weight)) / 2
        mixed: Ratios = ((1 - weight) * self.start(context, name)
                         + weight * self.end(context, name))
        return mixed


@TASK_UTILS.register_module()
class DelayedRatio(RatioSampler):
    """Hides nothing before an epoch (iBOT's ``pred_start_epoch``).

    Args:
        ratio (RatioSampler | float | Sequence | dict): From that epoch on.
        start_epoch (int): First epoch, 0-based, with masks.

    Source: ``get_pred_ratio`` in ``loader.py`` of gkakogeorgiou/attmask.
    """

    def __init__(self, ratio: RatioLike, start_epoch: int) -> None:
        if start_epoch < 0:
            raise ConfigError(f'start_epoch={start_epoch}: must be >= 0')
        self.ratio, self.start_epoch = build_ratio(ratio), start_epoch
        self.batch_coupled = self.ratio.batch_coupled

    @property
    def bounds(self) -> tuple[float, float]:
        low, high = self.ratio.bounds
        return (0.0 if self.start_epoch else low), high

    def __call__(self, context: MaskContext, name: str = 'ratio') -> Ratios:
        if context.progress.epoch < self.start_epoch:
            return np.zeros(context.rows)
        return self.ratio(context, name)
