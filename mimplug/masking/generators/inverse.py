"""Masks that leave blocks visible and hide the rest."""
from __future__ import annotations

from typing import ClassVar

import numpy as np

from mimplug.errors import check_range
from mimplug.masking.cells import (
    Cells,
    Ints,
    force_counts,
    integer_table,
    rectangles,
    roll_cells,
)
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import CellMask
from mimplug.masking.ratios import RatioLike, Ratios
from mimplug.masking.select import Counts
from mimplug.registry import TASK_UTILS


def kept_counts(ratios: Ratios, length: int) -> Counts:
    r"""Returns (M,) int64, :math:`\lfloor L (1 - r) \rfloor`.

    Args:
        ratios (ndarray): (M,) r.
        length (int): L.
    """
    # 1 - 0.8 is a little less than 0.2; the slack keeps L = 10 from giving 1
    counts: Counts = np.floor(length * (1.0 - ratios) + 1e-9).astype(np.int64)
    return counts


@TASK_UTILS.register_module()
class InverseBlockMask(CellMask):
    r"""data2vec 2.0: squares at random places stay visible.

    With :math:`p = 1 - r`, squares of :math:`\ell \times \ell` tokens around
    :math:`\lfloor L (p + adjust) / \ell^2 \rfloor` centres (at least one),
    drawn with replacement and cut at the border, are kept; then random tokens
    are added or taken away until :math:`\lfloor L p \rfloor` are kept. Draws:
    'apply', 'block/y', 'block/x', 'fill', 'ratio', 'roll/y', 'roll/x'.

    Args:
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to the
            published 0.8.
        block (int): :math:`\ell` >= 1. Defaults to the published 3.
        adjust (float): Makes up for overlaps, in [0, 1]. Defaults to the
            published 0.07.
        roll (bool): Shift the mask round the grid, so that no place is seen
            more often than others. Defaults to False.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range.

    Provenance: code. Source: Baevski et al., data2vec 2.0, ICML 2023
    (arXiv 2212.07525), ``compute_block_mask_2d`` of fairseq.
    """

    provenance = 'code'
    examples: ClassVar = (
        {'ratio': 0.6}, {'ratio': (0.7, 0.2), 'block': 2, 'roll': True,
                         'apply_prob': 0.5})

    def __init__(self, ratio: RatioLike = 0.8, *, block: int = 3,
                 adjust: float = 0.07, roll: bool = False,
                 apply_prob: float = 1.0) -> None:
        check_range('block', block, 1, 1_000_000)
        check_range('adjust', adjust, 0.0, 1.0)
        super().__init__(ratio, apply_prob=apply_prob)
        self.block, self.adjust, self.roll = block, adjust, roll

    def counts(self, ratios: Ratios, grid: tuple[int, int]) -> Counts:
        length = grid[0] * grid[1]
        return length - kept_counts(ratios, length)

    def cells(self, context: MaskContext) -> Cells:
        draws, (height, width) = context.draws, context.grid
        ratios = self.ratio(context)
        squares = (context.length * (1.0 - ratios + self.adjust)
                   / self.block**2).astype(np.int64).clip(min=1)
        most = int(squares.max())
        y = integer_table(draws, 'block/y', height, most)
        x = integer_table(draws, 'block/x', width, most)
        half = self.block // 2
        # a square of side 0 keeps nothing
        side = np.where(np.arange(most) < squares[:, None], self.block, 0)
        inside = rectangles(y - half, x - half, side, side, context.grid)
        kept: Cells = np.any(inside, axis=1)
        kept = force_counts(
            kept, kept_counts(ratios, context.length), draws, 'fill')
        return ~(roll_cells(kept, draws) if self.roll else kept)


@TASK_UTILS.register_module()
class InverseRectangleMask(CellMask):
    r"""CAPI: one rectangle stays visible, shifted round the grid.

    A rectangle of :math:`n = L - \lfloor L r \rfloor` tokens is kept:

    .. math:: h = \lceil \sqrt{n\, a} \rceil, \quad
        w = \lceil \sqrt{n / a} \rceil, \quad
        \ln a \sim U(\ln lo, \ln hi)

    with [lo, hi] cut so that the rectangle fits into the grid, put somewhere
    at random and cut to its first n tokens. Without the shift the middle of
    the image would be seen most. Draws: 'apply', 'aspect', 'top', 'left',
    'ratio', 'roll/y', 'roll/x'.

    Args:
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to the
            published 0.65.
        aspect (tuple[float, float]): lo and hi, > 0. Defaults to (0.5, 2).
        roll (bool): Whether the mask is shifted. Defaults to True.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range.

    Provenance: code. Source: Darcet et al., CAPI (arXiv 2502.08769);
    valeoai/Franca uses the same class.
    """

    provenance = 'code'
    examples: ClassVar = (
        {'ratio': 0.65}, {'ratio': (0.5, 0.4), 'roll': False,
                          'apply_prob': 0.5})

    def __init__(self, ratio: RatioLike = 0.65, *,
                 aspect: tuple[float, float] = (0.5, 2.0), roll: bool = True,
                 apply_prob: float = 1.0) -> None:
        low, high = aspect
        check_range('aspect[1]', high, 1e-6, 1e6)
        check_range('aspect[0]', low, 1e-6, high)
        super().__init__(ratio, apply_prob=apply_prob)
        self.log_aspect, self.roll = np.log(aspect), roll

    def cells(self, context: MaskContext) -> Cells:
        draws, grid = context.draws, context.grid
        kept = context.length - self.counts(self.ratio(context), grid)
        tall, wide = self._sides(context, kept.clip(min=1))
        top = draws.row_integers('top', 0, grid[0] - tall)
        left = draws.row_integers('left', 0, grid[1] - wide)
        inside = rectangles(top, left, tall, wide, grid)
        flat = inside.reshape(len(kept), -1)
        first = flat & (flat.cumsum(1) <= kept[:, None])
        cells = first.reshape(inside.shape)
        return ~(roll_cells(cells, draws) if self.roll else cells)

    def _sides(self, context: MaskContext, kept: Counts) -> tuple[Ints, Ints]:
        """Height and width (M,) of rectangles with at least ``kept`` cells."""
        height, width = context.grid
        fitting = np.log(kept / width**2), np.log(height**2 / kept)
        low, high = (np.clip(end, *fitting) for end in self.log_aspect)
        aspect = np.exp(context.draws.row_uniform('aspect', low, high))
        # the slack forgives the rounding of exp and log
        tall = np.ceil(np.sqrt(kept * aspect) - 1e-9).clip(1, height)
        wide = np.ceil(np.sqrt(kept / aspect) - 1e-9)
        wide = np.maximum(wide, np.ceil(kept / tall)).clip(1, width)
        return tall.astype(np.int64), wide.astype(np.int64)
