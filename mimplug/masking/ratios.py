"""How much to hide: a share of the cells for each row, on the host.

Every sampler is called as ``sampler(context, name)`` and returns (M,)
float64 ratios of [0, 1]. ``name`` names the draw, so that a generator may ask
the same sampler for several independent ratios.
"""
from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking.build import build_part
from mimplug.masking.context import MaskContext
from mimplug.registry import TASK_UTILS

Ratios = NDArray[np.float64]
# Who shares a ratio -> the family of draws that gives it.
PER = {'view': 'row', 'image': 'image', 'batch': 'batch', 'rank': 'rank'}
RatioLike: TypeAlias = 'RatioSampler | float | Sequence | dict'


class RatioSampler(abc.ABC):
    """Draws the share of hidden cells of each row of a batch."""

    # Does the ratio of a row depend on the other rows of the batch?
    batch_coupled: bool = False

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[float, float]:
        """The smallest and the largest ratio that can come out."""

    @abc.abstractmethod
    def __call__(self, context: MaskContext, name: str = 'ratio') -> Ratios:
        """Returns (M,) float64 ratios in [0, 1].

        Args:
            context (MaskContext): The batch.
            name (str): Name of the draw. Defaults to 'ratio'.
        """


def build_ratio(ratio: RatioLike) -> RatioSampler:
    """Returns the sampler that a config means.

    Args:
        ratio (RatioSampler | float | Sequence | dict): A sampler; one number
            (:class:`FixedRatio`); a pair mean, var (:class:`UniformRatio`
            of each view); a list of such pairs (:class:`ChoiceRatio`); or a
            dict with a ``type``.

    Raises:
        ConfigError: If it is none of these, or out of range.

    Example:
        >>> type(build_ratio((0.3, 0.2))).__name__
        'UniformRatio'
    """
    if isinstance(ratio, (int, float)) and not isinstance(ratio, bool):
        return FixedRatio(ratio)
    if isinstance(ratio, (list, tuple)):
        if len(ratio) == 2 and all(
                isinstance(part, (int, float)) for part in ratio):
            return UniformRatio(*ratio)
        return ChoiceRatio(ratio)
    return build_part(
        ratio, RatioSampler, 'ratio')  # type: ignore[type-abstract]


def _draw(context: MaskContext, per: str, kind: str, name: str,
          low: float, high: float) -> Ratios:
    """(M,) values of one draw, repeated over the rows that share it."""
    draw = getattr(context.draws, f'{PER[per]}_{kind}')
    value = np.asarray(draw(name, low, high), np.float64)
    if per == 'image':
        value = np.tile(value, context.num_views)
    return np.broadcast_to(value, (context.rows,)).copy()


def _check_spread(mean: float, var: float) -> None:
    """Raises unless [mean - var, mean + var] lies in [0, 1]."""
    check_range('mean', mean, 0.0, 1.0)
    # The slack lets 0.7 +- 0.3 pass, whose sum may exceed 1 by rounding.
    check_range(f'var (with mean={mean})', var, 0.0,
                min(mean, 1.0 - mean) + 1e-9)


def _ends(mean: float, var: float) -> tuple[float, float]:
    """The ends of [mean - var, mean + var] inside [0, 1]."""
    return max(0.0, mean - var), min(1.0, mean + var)


@TASK_UTILS.register_module()
class FixedRatio(RatioSampler):
    """The same ratio for every row, at every step.

    Args:
        value (float): Ratio in [0, 1].
    """

    def __init__(self, value: float) -> None:
        check_range('ratio', value, 0.0, 1.0)
        self.value = float(value)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.value, self.value

    def __call__(self, context: MaskContext, name: str = 'ratio') -> Ratios:
        return np.full(context.rows, self.value)


@TASK_UTILS.register_module()
class UniformRatio(RatioSampler):
    """A ratio drawn from [mean - var, mean + var).

    Args:
        mean (float): Centre, in [0, 1].
        var (float): Half the width (not a variance; the name is the
            reference's). 0 gives ``mean`` without a draw. Defaults to 0.
        per (str): Who shares a draw: 'view' (each view of each image has its
            own), 'image' (its views share it), 'batch' (one for the batch,
            equal on all ranks), 'rank' (one for the batch of a rank, as the
            released AttMask draws it). Defaults to 'view'.

    Source: ``get_pred_ratio`` in ``loader.py`` of gkakogeorgiou/attmask.
    """

    def __init__(self, mean: float, var: float = 0.0, per: str = 'view'
                 ) -> None:
        _check_spread(mean, var)
        check_choice('per', per, PER)
        self.mean, self.var, self.per = float(mean), float(var), per

    @property
    def bounds(self) -> tuple[float, float]:
        return _ends(self.mean, self.var)

    def __call__(self, context: MaskContext, name: str = 'ratio') -> Ratios:
        if self.var == 0:
            return np.full(context.rows, self.mean)
        drawn = _draw(context, self.per, 'uniform', name,
                      self.mean - self.var, self.mean + self.var)
        return drawn.clip(0.0, 1.0)


@TASK_UTILS.register_module()
class ChoiceRatio(RatioSampler):
    """One of several uniform ranges, each as likely as the others.

    iBOT's ``--pred_ratio 0 0.3 --pred_ratio_var 0 0.2`` is
    ``ChoiceRatio([(0, 0), (0.3, 0.2)])``: half of the views stay whole. As in
    the reference, first every range with a width is drawn from, then one of
    the results is chosen.

    Args:
        entries (Sequence[tuple[float, float]]): Pairs (mean, var) as in
            :class:`UniformRatio`; at least one.
        per (str): As in :class:`UniformRatio`. Defaults to 'view'.

    Source: ``get_pred_ratio`` in ``loader.py`` of gkakogeorgiou/attmask.
    """

    def __init__(self, entries: Sequence[tuple[float, float]],
                 per: str = 'view') -> None:
        if not entries or any(
                not isinstance(entry, (list, tuple)) or len(entry) != 2
                for entry in entries):
            raise ConfigError(
                f'entries={entries!r}: needs pairs (mean, var), such as '
                '[(0, 0), (0.3, 0.2)]')
        for mean, var in entries:
            _check_spread(mean, var)
        check_choice('per', per, PER)
        self.entries, self.per = tuple(map(tuple, entries)), per

    @property
    def bounds(self) -> tuple[float, float]:
        lows, highs = zip(*(_ends(*entry) for entry in self.entries))
        return min(lows), max(highs)

    def __call__(self, context: MaskContext, name: str = 'ratio') -> Ratios:
        drawn = np.stack([
            np.full(context.rows, float(mean)) if var == 0 else
            _draw(context, self.per, 'uniform', f'{name}/{entry}',
                  mean - var, mean + var)
            for entry, (mean, var) in enumerate(self.entries)])
        if len(drawn) == 1:
            only: Ratios = drawn[0].clip(0.0, 1.0)
            return only
        chosen = _draw(context, self.per, 'integers', f'{name}/choice',
                       0, len(drawn) - 1).astype(np.int64)
        picked: Ratios = drawn[chosen, np.arange(context.rows)]
        return picked.clip(0.0, 1.0)


@TASK_UTILS.register_module()
class StratifiedRatio(RatioSampler):
    r"""Ratios that fill a range evenly within each batch.

    Of the M rows :math:`n = \lfloor M\, prob \rfloor` get a mask. The range
    is cut into n bins; the row that is given bin i draws

    .. math:: r = low + (i + u)(high - low) / n, \quad u \sim U(0, 1)

    and the other rows get 0. Bins are dealt out in random order, so a row
    has the same distribution as with :class:`UniformRatio`, while the sum
    over the batch, and with it the cost of a step, hardly varies.

    Args:
        low (float): Lower end of the range. Defaults to 0.1.
        high (float): Upper end. Defaults to 0.5.
        prob (float): Share of the rows that get a mask. Defaults to 0.5.

    Source: ``collate_data_and_cast`` of facebookresearch/dinov2.
    """

    batch_coupled = True

    def __init__(self, low: float = 0.1, high: float = 0.5,
                 prob: float = 0.5) -> None:
        check_range('high', high, 0.0, 1.0)
        check_range('low', low, 0.0, high)
        check_range('prob', prob, 0.0, 1.0)
        self.low, self.high, self.prob = low, high, prob

    @property
    def bounds(self) -> tuple[float, float]:
        # rounded down, the number of masked rows may fall short of all
        return (self.low if self.prob == 1 else 0.0), self.high

    def __call__(self, context: MaskContext, name: str = 'ratio') -> Ratios:
        ratios = np.zeros(context.rows)
        count = int(context.rows * self.prob)
        order = np.argsort(
            context.draws.row_uniform(f'{name}/order'), kind='stable')
        within = context.draws.row_uniform(name)
        chosen = order[:count]
        width = (self.high - self.low) / max(1, count)
        ratios[chosen] = (
            self.low + (np.arange(count) + within[chosen]) * width)
        return ratios
