"""Block-wise masks of BEiT and iBOT, all rows at once on the host."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimplug.draws.base import Rows
from mimplug.errors import check_range
from mimplug.masking.cells import (
    Cells,
    Ints,
    check_sides,
    mask_of_cells,
    rectangles,
    roll_cells,
)
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import RatioMask
from mimplug.masking.mask import Mask
from mimplug.masking.ratios import RatioLike, Ratios
from mimplug.masking.select import apply_probability
from mimplug.registry import TASK_UTILS

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Blocks:
    """One attempted block for each of some rows."""
    rows: Ints
    top: Ints
    left: Ints
    height: Ints
    width: Ints

    def __getitem__(self, chosen: NDArray[np.bool_]) -> _Blocks:
        return _Blocks(self.rows[chosen], self.top[chosen],
                       self.left[chosen], self.height[chosen],
                       self.width[chosen])


class _Canvas:
    """Painted cells of M grids, with a table of sums over rectangles.

    ``sums[i, y, x]`` counts the painted cells above y and left of x, so
    that the cells inside any block cost four look-ups.
    """

    def __init__(self, rows: int, grid: tuple[int, int]) -> None:
        height, width = grid
        self.cells = np.zeros((rows, height, width), np.bool_)
        self.sums = np.zeros((rows, height + 1, width + 1), np.int32)

    def inside(self, blocks: _Blocks) -> Ints:
        """Number of painted cells inside each block."""
        rows, top, left = blocks.rows, blocks.top, blocks.left
        bottom, right = top + blocks.height, left + blocks.width
        found: Ints = (
            self.sums[rows, bottom, right] - self.sums[rows, top, right]
            - self.sums[rows, bottom, left] + self.sums[rows, top, left])
        return found

    def paint(self, blocks: _Blocks) -> None:
        """Paints each block on the grid of its row (each row once)."""
        height, width = self.cells.shape[1:]
        cells = self.cells[blocks.rows] | rectangles(
            blocks.top, blocks.left, blocks.height, blocks.width,
            (height, width))
        self.cells[blocks.rows] = cells
        self.sums[blocks.rows, 1:, 1:] = cells.cumsum(
            1, dtype=np.int32).cumsum(2, dtype=np.int32)


class RowDraws(Protocol):
    """The two draws that a block needs; see :class:`mimplug.draws.Draws`."""

    def row_uniform(self, name: str, low: ArrayLike = ..., high: ArrayLike =
                    ..., *, where: Rows | None = ..., n: int = ...) -> Floats:
        """A number for each row."""

    def row_integers(self, name: str, low: ArrayLike, high: ArrayLike, *,
                     where: Rows | None = ..., n: int = ...) -> Ints:
        """An integer for each row."""


@dataclass(frozen=True)
class BlockPainter:
    """Paints rectangles on grids until the budget of a row is used up.

    Args:
        min_area (float): Smallest area of a block in cells.
        max_area (float): Largest area in cells.
        log_aspect (tuple[float, float]): Range of the logarithm of height
            over width.
        attempts (int): Failures in a row that end a row.
    """
    min_area: float
    max_area: float
    log_aspect: tuple[float, float]
    attempts: int

    def __call__(self, draws: RowDraws, budget: Floats,
                 grid: tuple[int, int]) -> Cells:
        """Returns (M, Hp, Wp) bool, the painted cells.

        Args:
            draws (RowDraws): Random numbers of the M rows.
            budget (ndarray): (M,) most cells of each row.
            grid (tuple[int, int]): (Hp, Wp).
        """
        canvas = _Canvas(len(budget), grid)
        painted = np.zeros(len(budget), np.int64)
        failures = np.zeros_like(painted)
        active = np.flatnonzero(budget > 0)
        attempt = 0
        while active.size:
            remaining: Floats = budget - painted
            blocks = self._attempt(
                draws, active, remaining[active], grid, attempt)
            failures[active] += 1
            added = blocks.height * blocks.width - canvas.inside(blocks)
            accepted = (added > 0) & (added <= remaining[blocks.rows])
            blocks = blocks[accepted]
            canvas.paint(blocks)
            painted[blocks.rows] += added[accepted]
            failures[blocks.rows] = 0
            unfinished = (painted < budget) & (failures < self.attempts)
            active = active[unfinished[active]]
            attempt += 1
        return canvas.cells

    def _attempt(self, draws: RowDraws, rows: Ints, remaining: Floats,
                 grid: tuple[int, int], attempt: int) -> _Blocks:
        """A block for each of the rows in which it fits into the grid."""
        height, width = grid
        area = draws.row_uniform(
            'block/area', self.min_area,
            np.minimum(remaining, self.max_area), where=rows, n=attempt)
        aspect = np.exp(draws.row_uniform(
            'block/aspect', *self.log_aspect, where=rows, n=attempt))
        tall = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        wide = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (wide < width) & (tall < height)
        rows, tall, wide = rows[fits], tall[fits], wide[fits]
        top = draws.row_integers(
            'block/top', 0, height - tall, where=rows, n=attempt)
        left = draws.row_integers(
            'block/left', 0, width - wide, where=rows, n=attempt)
        return _Blocks(rows, top, left, tall, wide)


@TASK_UTILS.register_module()
class BlockMask(RatioMask):
    r"""Hides rectangles until the budget of a row is used up.

    With the budget :math:`b = r\, Hp\, Wp` and c cells hidden so far, an
    attempt draws

    .. math:: area \sim U(low, b - c), \quad
        \ln aspect \sim U(\ln a, -\ln a)

    and rounds to a block of :math:`\sqrt{area \cdot aspect}` times
    :math:`\sqrt{area / aspect}` cells. It counts if it is smaller than the
    grid in both directions and, put somewhere at random, adds between 1 and
    b - c cells. A row ends when its budget is used up or ``attempts``
    attempts in a row failed, so it never exceeds the budget and often falls
    a little short of it. Draws: 'ratio', 'apply', 'block/area',
    'block/aspect', 'block/top', 'block/left', 'roll/y', 'roll/x'.

    All rows take an attempt together and finished rows leave. With
    :class:`mimplug.draws.PythonRandomDraws` the rows take turns instead and
    the masks are the reference's, bit by bit.

    Args:
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to
            iBOT's published setting [(0, 0), (0.3, 0.2)].
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.
        min_area (int, optional): low, in cells. Defaults to iBOT's
            :math:`\lfloor \min(Hp, Wp) / 3 \rfloor^2`; BEiT uses 4.
        max_area (float): Largest area of a block as a share of the grid, in
            (0, 1]; DINOv2 uses 0.5. Defaults to 1.
        min_aspect (float): a in (0, 1]. Defaults to 0.3.
        attempts (int): Failures in a row that end a row. Defaults to 10.
        roll (bool): Shift the finished mask round the grid, as DINOv3 does.
            Defaults to False.

    Raises:
        ConfigError: If a number is out of range.

    Provenance: code. Source: ``ImageFolderMask`` in ``loader.py`` of
    gkakogeorgiou/attmask; BEiT (Bao et al., ICLR 2022), algorithm 1. DINOv2's
    masks are these with ``min_area=4``, ``max_area=0.5`` and a
    :class:`mimplug.masking.StratifiedRatio`.
    """

    provenance = 'code'
    exact_count = False
    examples: ClassVar = (
        {'ratio': 0.4}, {}, {'ratio': (0.3, 0.2), 'min_area': 4,
                             'max_area': 0.5, 'apply_prob': 0.5},
        {'ratio': {'type': 'StratifiedRatio'}, 'min_area': 4,
         'max_area': 0.5, 'roll': True})

    def __init__(self, ratio: RatioLike = ((0.0, 0.0), (0.3, 0.2)), *,
                 apply_prob: float = 1.0, min_area: int | None = None,
                 max_area: float = 1.0, min_aspect: float = 0.3,
                 attempts: int = 10, roll: bool = False) -> None:
        check_range('max_area', max_area, 1e-6, 1.0)
        check_range('min_aspect', min_aspect, 1e-6, 1.0)
        check_range('attempts', attempts, 1, 10_000)
        if min_area is not None:
            check_range('min_area', min_area, 1, float('inf'))
        super().__init__(ratio, apply_prob=apply_prob)
        self.attempts, self.roll = attempts, roll
        self.min_area, self.max_area = min_area, max_area
        self.log_aspect = (math.log(min_aspect), math.log(1 / min_aspect))

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        check_sides(grid)

    def __call__(self, context: MaskContext) -> Mask:
        cells = np.concatenate(
            [self._cells(part) for part in context.parts()])
        return mask_of_cells(cells, context)

    def _cells(self, context: MaskContext) -> Cells:
        """(M, Hp, Wp) bool, the hidden cells."""
        ratios: Ratios = self.ratio(context)
        kept = apply_probability(context.draws, self.apply_prob)
        height, width = context.grid
        # The reference multiplies in this order, which can round otherwise.
        budget = np.where(kept, ratios, 0.0) * height * width
        low = self.min_area or (min(context.grid) // 3)**2
        painter = BlockPainter(
            low, self.max_area * height * width, self.log_aspect,
            self.attempts)
        cells = painter(context.draws, budget, context.grid)
        return roll_cells(cells, context.draws) if self.roll else cells
