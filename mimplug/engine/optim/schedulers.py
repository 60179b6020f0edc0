"""lr and weight decay as closed forms of the optimiser step."""
from __future__ import annotations

import math
from typing import Any

from mmengine.optim.scheduler.param_scheduler import _ParamScheduler

from mimplug.errors import ConfigError, check_range
from mimplug.registry import PARAM_SCHEDULERS
from mimplug.schedules import warmup_cosine


def is_share(length: float) -> bool:
    """Whether a length is meant relative to the whole: 0 < length < 1."""
    return 0 < length < 1


@PARAM_SCHEDULERS.register_module()
class WarmupCosine(_ParamScheduler):
    r"""Warm-up and half a cosine of any optimiser setting.

    The value is :func:`mimplug.schedules.warmup_cosine` of the number of
    finished optimiser steps: exact from the first value on, unmoved inside
    gradient accumulation, and equal after a resume. Steps that the guard
    skipped are counted back once the host knows of them, at a log point. Write
    it with
    ``convert_to_iter_based=True``; then ``warmup`` and ``end`` are epochs.
    With ``by_epoch=False`` they are iterations. A ``warmup`` such as 0.1 is a
    tenth of the schedule, however long the run is. Groups with an ``lr_mult``
    get that multiple. With ``hold`` the value moves in stairs: ``hold=1``
    epoch is the cosine "per epoch" of MoCo and its descendants.

    Args:
        optimizer (BaseOptimWrapper | Optimizer): Filled in by the runner.
        param_name (str): ``'lr'`` or ``'weight_decay'``.
        final (float): Limit at the end (never reached).
        warmup (int | float): Warm-up in iterations (epochs, if converted).
            Between 0 and 1, both excluded: share of the schedule, rounded to
            optimiser steps. Defaults to 0.
        start (float): First value of the warm-up. Defaults to 0.
        base (float, optional): Value after the warm-up. Defaults to the
            optimiser's own setting.
        end (int): Length of the schedule in iterations (epochs, if
            converted). The runner fills in the length of the run.
        hold (int): Iterations (epochs, if converted) that share a value, the
            one at their beginning; the formula then counts these, not steps.
            0: each optimiser step has its own. Defaults to 0.
        accumulation (int, optional): Iterations an optimiser step. Defaults
            to the wrapper's.

    Raises:
        ConfigError: A warm-up that is longer than the run, or lengths of
            unknown unit.

    Source: ``utils.cosine_scheduler`` of gkakogeorgiou/attmask.
    """

    def __init__(self, optimizer: Any, param_name: str, *, final: float,
                 end: int, warmup: float = 0, start: float = 0.0,
                 base: float | None = None, hold: int = 0,
                 accumulation: int | None = None, begin: int = 0,
                 last_step: int = -1, by_epoch: bool = True,
                 verbose: bool = False) -> None:
        if by_epoch:  # the runner would fill in epochs as the length
            raise ConfigError(
                f'{type(self).__name__} moves every iteration: write '
                'convert_to_iter_based=True (lengths in epochs) or '
                'by_epoch=False (lengths in iterations)')
        if accumulation is None:
            accumulation = int(getattr(optimizer, '_accumulative_counts', 1))
        check_range('hold', hold, 0, math.inf)
        self.accumulation = accumulation
        # iterations that share a value
        self.unit = hold or accumulation
        self.total = math.ceil(end / self.unit)
        self.warmup = round(warmup * self.total) if is_share(
            warmup) else int(warmup // self.unit)
        if not 0 <= self.warmup <= self.total:
            raise ConfigError(
                f'{param_name}: warm-up of {warmup} iterations in a run of '
                f'{end}; allowed is [0, {end}]')
        self.start, self.final, self.base = start, final, base
        super().__init__(optimizer, param_name, begin=begin, end=end + 1,
                         last_step=last_step, by_epoch=by_epoch,
                         verbose=verbose)
        # Inside accumulation the scheduler is called before the optimiser,
        # rightly; the base class would warn.
        optimizer._global_step = 0

    @classmethod
    def build_iter_from_epoch(cls, *args: Any, epoch_length: int, end: int,
                              warmup: float = 0, hold: int = 0,
                              by_epoch: bool = True, **kwargs: Any
                              ) -> WarmupCosine:
        """Builds the scheduler from lengths in epochs.

        Args:
            *args: Positional arguments of the class.
            epoch_length (int): Iterations an epoch.
            end (int): Epochs of the run.
            warmup (int | float): Epochs of warm-up, or its share of the
                schedule. Defaults to 0.
            hold (int): Epochs that share a value. Defaults to 0.
            by_epoch (bool): Must be True.
            **kwargs: The other arguments of the class.

        Returns:
            WarmupCosine: Scheduler that is stepped every iteration.
        """
        if not by_epoch:
            raise ConfigError(
                'by_epoch=False cannot be combined with convert_to_iter_based')
        if not is_share(warmup):
            warmup = math.floor(warmup * epoch_length)
        return cls(*args, end=end * epoch_length, warmup=warmup,
                   hold=hold * epoch_length, by_epoch=False, **kwargs)

    def state_dict(self) -> dict:
        """Counters only: a longer resumed run follows its own config."""
        return {key: getattr(self, key) for key in ('last_step',
                                                    '_global_step')}

    @property
    def index(self) -> int:
        """Number of finished optimiser steps, skipped ones left out."""
        steps = getattr(self.optimizer, '_inner_count', None)
        if steps is None:
            steps = max(0, self._global_step)
        skipped = getattr(self.optimizer, 'known_skipped', 0)
        return max(0, int(steps) // self.accumulation - int(skipped))

    def _get_value(self) -> list[float]:
        """Value of each parameter group."""
        return [
            self.value(self.index, base, group.get('lr_mult', 1.0))
            for base, group in zip(self.base_values,
                                   self.optimizer.param_groups)
        ]

    def value(self, step: int, base: float, mult: float = 1.0) -> float:
        """Value of one group after ``step`` optimiser steps.

        Args:
            step (int): Finished optimiser steps, >= 0.
            base (float): The group's own setting, ``mult`` included.
            mult (float): The group's factor. Defaults to 1.

        Returns:
            float: The value.
        """
        if self.base is not None:
            base = self.base * mult
        place = step * self.accumulation // self.unit
        return mult * warmup_cosine(
            place, base / mult, self.final, self.total, self.warmup,
            self.start)


@PARAM_SCHEDULERS.register_module()
class WarmupCosineLR(WarmupCosine):
    """:class:`WarmupCosine` of the learning rate.

    Groups with ``fix_lr`` keep theirs, as SimSiam's predictor does:
    ``paramwise_cfg=dict(custom_keys={'predictor': dict(fix_lr=True)})``.

    Args:
        optimizer (BaseOptimWrapper | Optimizer): Filled in by the runner.
        **kwargs: Arguments of :class:`WarmupCosine`.
    """

    def __init__(self, optimizer: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, 'lr', **kwargs)

    def _get_value(self) -> list[float]:
        """Value of each parameter group."""
        return [
            base if group.get('fix_lr') else value for value, base, group
            in zip(super()._get_value(), self.base_values,
                   self.optimizer.param_groups)]


@PARAM_SCHEDULERS.register_module()
class CosineWeightDecay(WarmupCosine):
    """:class:`WarmupCosine` of the weight decay; groups at 0 stay at 0.

    Args:
        optimizer (BaseOptimWrapper | Optimizer): Filled in by the runner.
        **kwargs: Arguments of :class:`WarmupCosine`.
    """

    def __init__(self, optimizer: Any, **kwargs: Any) -> None:
        super().__init__(optimizer, 'weight_decay', **kwargs)

    def value(self, step: int, base: float, mult: float = 1.0) -> float:
        """Value of one group; the factor of the learning rate is ignored."""
        return super().value(step, base) if base else 0.0
