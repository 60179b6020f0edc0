"""Masks of MixMask: blocks that are kept, or independent cells."""
from __future__ import annotations

import abc
import math
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimplug.draws import Draws
from mimplug.draws.base import Rows
from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking.cells import Cells, mask_of_cells
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import MaskGenerator
from mimplug.masking.generators.block import BlockPainter
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS

PER = ('batch', 'image')
# A grid of all or nothing is drawn anew; so often it does not happen.
REDRAWS = 100


class _BatchRow:
    """One row whose numbers are those of the batch."""

    def __init__(self, draws: Draws) -> None:
        self._draws = draws

    def row_uniform(self, name: str, low: ArrayLike = 0.0,
                    high: ArrayLike = 1.0, *, where: Rows | None = None,
                    n: int = 0) -> NDArray[np.float64]:
        return np.array([
            self._draws.batch_uniform(name, float(one), float(two), n=n)
            for one, two in zip(*self._ends(low, high, where))], np.float64)

    def row_integers(self, name: str, low: ArrayLike, high: ArrayLike, *,
                     where: Rows | None = None, n: int = 0
                     ) -> NDArray[np.int64]:
        return np.array([
            self._draws.batch_integers(name, int(one), int(two), n=n)
            for one, two in zip(*self._ends(low, high, where))], np.int64)

    @staticmethod
    def _ends(low: ArrayLike, high: ArrayLike, where: Rows | None
              ) -> list[NDArray]:
        """Both ends, for one row or for none."""
        count = 1 if where is None else len(where)
        return [np.broadcast_to(end, count) for end in (low, high)]


class _GridMask(MaskGenerator):
    """One mask for the batch, or one for each row."""

    def __init__(self, per: str) -> None:
        check_choice('per', per, PER)
        self.per = per
        self.keyed = per == 'image'

    @abc.abstractmethod
    def kept(self, context: MaskContext) -> Cells:
        """Returns (1 or M, Hp, Wp) bool, the cells that stay visible."""

    def __call__(self, context: MaskContext) -> Mask:
        cells = ~self.kept(context)
        return mask_of_cells(
            np.broadcast_to(cells, (context.rows, *context.grid)), context)


@TASK_UTILS.register_module()
class GridBlockMask(_GridMask):
    r"""MixMask 'block': hides all but a few rectangles.

    Rectangles are *kept* until :math:`N = \lfloor k\, Hp\, Wp \rfloor` cells
    are. With c cells kept so far, an attempt draws

    .. math:: area \sim U(4, N - c), \quad
        \ln aspect \sim U(\ln 0.3, -\ln 0.3)

    (if fewer than 4 cells are missing, the ends change places), rounds to a
    block of :math:`\sqrt{area \cdot aspect}` times
    :math:`\sqrt{area / aspect}` cells and puts it somewhere at random. It
    counts if it is smaller than the grid in both directions and adds between
    1 and N - c cells; after 10 failures in a row fewer cells stay. What is
    kept lies around the centre: of 8 x 8 cells a central one in 81 % of the
    masks, a corner in 15 %. Draws: 'block/area', 'block/aspect',
    'block/top', 'block/left'.

    Args:
        keep (float): k in [0, 1], share of the cells that stay visible.
            Defaults to the published 0.5.
        min_cells (int): Smallest area that is drawn, in cells. Defaults to
            the published 4.
        aspect (tuple[float, float]): Range of height over width. Defaults to
            the published (0.3, 1 / 0.3).
        per (str): 'batch': one mask for all images, the same on all ranks,
            as published; 'image': one for each row. Defaults to 'batch'.

    Raises:
        ConfigError: If a setting is out of range, or (when a model is built)
            a side of the grid has fewer than 3 cells.

    Provenance: code. Source: ``MaskingGenerator`` in ``utils.py`` of
    kirill-vish/MixMask (Vishniakov et al., arXiv 2210.11456), whose masks
    are 1 = keep, and differ between processes.
    """

    provenance = 'code'
    examples: ClassVar = ({}, {'keep': 0.3, 'per': 'image'})

    def __init__(self, keep: float = 0.5, min_cells: int = 4,
                 aspect: tuple[float, float] = (0.3, 1 / 0.3),
                 per: str = 'batch') -> None:
        super().__init__(per)
        check_range('keep', keep, 0.0, 1.0)
        check_range('min_cells', min_cells, 1, float('inf'))
        if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
            raise ConfigError(
                f'aspect={aspect!r}: needs two numbers, 0 < low <= high')
        self.keep, self.min_cells = float(keep), min_cells
        self.log_aspect = (math.log(aspect[0]), math.log(aspect[1]))

    def _number(self, grid: tuple[int, int]) -> int:
        return int(self.keep * (grid[0] * grid[1]))

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        if min(grid) < 3:
            raise ConfigError(
                f'grid={grid}: a block is smaller than the grid in both '
                f'directions and drawn with {self.min_cells} cells or more, '
                'so that with fewer than 3 cells a side nearly everything '
                'would be hidden; GridDiscreteMask can do it')

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        cells = grid[0] * grid[1]
        return cells - self._number(grid), cells

    def kept(self, context: MaskContext) -> Cells:
        painter = BlockPainter(
            self.min_cells, float('inf'), self.log_aspect, attempts=10)
        number = float(self._number(context.grid))
        if self.per == 'batch':
            return painter(_BatchRow(context.draws), np.array([number]),
                           context.grid)
        return painter(context.draws, np.full(context.rows, number),
                       context.grid)


@TASK_UTILS.register_module()
class GridDiscreteMask(_GridMask):
    r"""MixMask 'discrete': hides each cell by a draw of its own.

    .. math:: hidden_{ij} = u_{ij} \le t, \quad u_{ij} \sim U(0, 1)

    A grid with all cells hidden, or none, is drawn anew. Draws: 'cell'.

    Args:
        threshold (float): t in (0, 1), about the share of hidden cells.
            Defaults to the published 0.5.
        per (str): 'batch': one mask for all images, the same on all ranks,
            as published; 'image': one for each row. Defaults to 'batch'.

    Raises:
        ConfigError: If a setting is out of range, or (when a model is built)
            the grid has a single cell.

    Provenance: code. Source: ``get_discrete_mask`` in ``utils.py`` of
    kirill-vish/MixMask, where t is called ``mask_lam``, which in its block
    masks is what is kept.
    """

    provenance = 'code'
    examples: ClassVar = ({}, {'threshold': 0.3, 'per': 'image'})

    def __init__(self, threshold: float = 0.5, per: str = 'batch') -> None:
        super().__init__(per)
        check_range('threshold', threshold, 1e-6, 1.0 - 1e-6)
        self.threshold = float(threshold)

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        if grid[0] * grid[1] < 2:
            raise ConfigError(
                f'grid={grid}: of a single cell all or nothing is hidden')

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        return 1, grid[0] * grid[1] - 1

    def kept(self, context: MaskContext) -> Cells:
        table = self._table(context, 0)
        kept: Cells = table > self.threshold
        for redraw in range(1, REDRAWS):
            wrong = kept.all((1, 2)) | ~kept.any((1, 2))
            if not wrong.any():
                return kept
            table[wrong] = self._table(context, redraw)[wrong]
            kept = table > self.threshold
        return self._forced(table)

    def _table(self, context: MaskContext, n: int) -> NDArray[np.float32]:
        """(1 or M, Hp, Wp) numbers of [0, 1)."""
        if self.per == 'image':
            return context.draws.host_uniform('cell', *context.grid, n=n)
        return context.draws.host_batch_table('cell', *context.grid, n=n)[None]

    def _forced(self, table: NDArray[np.float32]) -> Cells:
        """With one cell of each state at least, at an extreme threshold."""
        flat = table.reshape(len(table), -1)
        kept, row = flat > self.threshold, np.arange(len(flat))
        kept[row, flat.argmax(1)] = True
        kept[row, flat.argmin(1)] = False
        return kept.reshape(table.shape)
