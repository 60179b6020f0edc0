"""Where a run stands, and values as closed forms of the optimiser step.

Pure host arithmetic: losses (temperatures), masking (ratios), the teacher
(momentum) and the optimiser (lr, weight decay) all read the same formulas, so
a resumed run has the values of an undisturbed one.
"""
from __future__ import annotations

import math
from dataclasses import dataclass

from mimplug.errors import ConfigError


@dataclass(frozen=True)
class Progress:
    """Position of a run in optimiser steps.

    Args:
        step (int): Optimiser steps finished so far (0 before the first),
            those included whose loss or gradient was not finite. Keys random
            draws, so that a batch never sees the same ones twice.
        max_steps (int): Optimiser steps of the whole run, >= 1.
        epoch (int): Current epoch, 0-based.
        max_epochs (int): Epochs of the whole run, >= 1.
        skipped (int): Steps among them that changed nothing, as far as the
            host knows: it learns of them at log points. Defaults to 0.
    """
    step: int = 0
    max_steps: int = 1
    epoch: int = 0
    max_epochs: int = 1
    skipped: int = 0

    @property
    def schedule_step(self) -> int:
        """Steps that changed something: where closed-form schedules stand."""
        return max(0, self.step - self.skipped)

    @property
    def fraction(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        return min(1.0, self.step / max(1, self.max_steps))


def warmup_cosine(step: int, base: float, final: float, total: int,
                  warmup: int = 0, start: float = 0.0) -> float:
    r"""Linear warm-up that includes its end value, then half a cosine.

    .. math::
        v_i = start + (base - start)\, i / (warmup - 1), \quad i < warmup

        v_{warmup + j} = final + (base - final)(1 + \cos(\pi j / n)) / 2,
        \quad n = total - warmup

    ``base`` appears twice around the join and ``final`` is never reached, as
    in the reference.

    Args:
        step (int): Index i, 0-based; beyond ``total`` the value is ``final``.
        base (float): Value after the warm-up.
        final (float): Limit at the end.
        total (int): Length of the whole schedule in steps.
        warmup (int): Length of the warm-up in steps. Defaults to 0.
        start (float): First value of the warm-up. Defaults to 0.

    Returns:
        float: The value at ``step``.

    Source: ``utils.cosine_scheduler`` of gkakogeorgiou/attmask.
    """
    if step < warmup:
        if warmup == 1:
            return start
        return start + (base - start) * (step / (warmup - 1))
    remaining = total - warmup
    if step >= total or remaining <= 0:
        return final
    phase = math.cos(math.pi * (step - warmup) / remaining)
    return final + 0.5 * (base - final) * (1 + phase)


def linear_then_constant(epoch: int, start: float, final: float,
                         warmup_epochs: int, hold_epochs: int = 0) -> float:
    """Holds ``start``, rises linearly to ``final``, stays there.

    The linear part has ``warmup_epochs`` values including both ends, so
    ``final`` is reached at epoch ``hold_epochs + warmup_epochs - 1``.

    Args:
        epoch (int): 0-based epoch.
        start (float): First value.
        final (float): Last value.
        warmup_epochs (int): Number of values of the linear part.
        hold_epochs (int): Epochs at ``start`` before it. Defaults to 0.

    Returns:
        float: The value of this epoch.

    Source: ``iBOTLoss.__init__`` (teacher temperatures) of
    gkakogeorgiou/attmask.
    """
    i = epoch - hold_epochs
    if i < 0:
        return start
    if i >= warmup_epochs:
        return final
    if warmup_epochs == 1:
        return start
    return start + (final - start) * (i / (warmup_epochs - 1))


@dataclass(frozen=True)
class LinearThenConstant:
    """:func:`linear_then_constant` with its numbers; call it with an epoch.

    Args:
        start (float): First value, > 0.
        final (float): Last value, > 0.
        warmup_epochs (int): Values of the linear part, >= 0. Defaults to 0.
        hold_epochs (int): Epochs at ``start`` before it, >= 0.
            Defaults to 0.

    Raises:
        ConfigError: A value out of range.

    Example:
        >>> LinearThenConstant(0.04, 0.07, warmup_epochs=4)(3)
        0.07
    """
    start: float
    final: float
    warmup_epochs: int = 0
    hold_epochs: int = 0

    def __post_init__(self) -> None:
        if min(self.start, self.final) <= 0:
            raise ConfigError(f'{self}: start and final must be > 0')
        if min(self.warmup_epochs, self.hold_epochs) < 0:
            raise ConfigError(f'{self}: epochs must be >= 0')

    def __call__(self, epoch: int) -> float:
        """Value of a 0-based epoch."""
        return linear_then_constant(epoch, self.start, self.final,
                                    self.warmup_epochs, self.hold_epochs)
