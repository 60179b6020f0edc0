"""Masks of a coarse grid: SimMIM's cells, UM-MAE's 2 x 2, a checkerboard."""
from __future__ import annotations

from typing import ClassVar

import numpy as np

from mimplug.errors import ConfigError, check_range
from mimplug.masking.cells import Cells, integer_table, mask_of_cells
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import CellMask, MaskGenerator
from mimplug.masking.mask import Mask
from mimplug.masking.ratios import RatioLike, Ratios
from mimplug.masking.select import Counts, apply_probability, draw_ranks
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class SimMIMMask(CellMask):
    r"""Hides random cells of s x s tokens.

    Of the :math:`n = Hp\, Wp / s^2` cells :math:`\lceil n r \rceil` are
    hidden. Draws: 'apply', 'cell', 'ratio'.

    Args:
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to the
            published 0.6.
        cell (int): s in tokens, >= 1; the published setting has cells of 32
            pixels, that is 2 patches of 16 or 8 of Swin's 4. Defaults to 2.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range or (when a model is built)
            the grid is not a multiple of the cell.

    Provenance: code. Source: Xie et al., SimMIM, CVPR 2022
    (arXiv 2111.09886); ``SimMIMMaskGenerator`` of MMPretrain.
    """

    provenance = 'code'
    examples: ClassVar = (
        {'ratio': 0.5, 'cell': 2}, {'ratio': 0.4, 'cell': 1},
        {'ratio': (0.5, 0.3), 'cell': 2, 'apply_prob': 0.5})

    def __init__(self, ratio: RatioLike = 0.6, *, cell: int = 2,
                 apply_prob: float = 1.0) -> None:
        check_range('cell', cell, 1, 1_000_000)
        super().__init__(ratio, apply_prob=apply_prob)
        self.cell = cell

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        if grid[0] % self.cell or grid[1] % self.cell:
            raise ConfigError(
                f'cell={self.cell}: the grid {grid} is not a multiple of it')

    def counts(self, ratios: Ratios, grid: tuple[int, int]) -> Counts:
        size = self.cell**2
        cells = grid[0] * grid[1] // size
        # 100 * 0.07 is a little more than 7; the slack keeps it from 8
        hidden: Counts = np.ceil(cells * ratios - 1e-9).astype(np.int64)
        return hidden * size

    def cells(self, context: MaskContext) -> Cells:
        height, width = (side // self.cell for side in context.grid)
        counts = self.counts(self.ratio(context), context.grid)
        coarse = draw_ranks(context.draws, 'cell', counts // self.cell**2,
                            height * width).reshape(-1, height, width)
        fine: Cells = coarse.repeat(self.cell, 1).repeat(self.cell, 2)
        return fine


@TASK_UTILS.register_module()
class UniformCellMask(MaskGenerator):
    r"""UM-MAE: one token of every 2 x 2 cell is seen.

    Which one is drawn for each cell. Of these n tokens :math:`\lfloor n s
    \rfloor` are hidden on top (secondary masking), so that what is seen
    needs a guess as well. Cells that stick out of an odd grid have fewer
    tokens and one of these is seen. Draws: 'cell/y', 'cell/x', 'secondary'.

    Args:
        secondary (float): s in [0, 1]. Defaults to the published 0.25.
        drop (bool): The student does not see the other tokens at all, which
            is what makes the method cheap; hidden, and so predicted, are the
            tokens of the secondary masking. Defaults to True. False: all
            of them are hidden behind the mask token.

    Raises:
        ConfigError: If a number is out of range, or (when a model is built)
            no token would be hidden.

    Provenance: code. Source: Li et al., UM-MAE (arXiv 2205.10063),
    implus/UM-MAE; its pool of equally frequent patterns is replaced by a
    free choice for each cell. The reference decodes every token that is not
    seen; a student without decoder predicts the tokens that it is given.
    """

    provenance = 'code'
    exact_count = True
    examples: ClassVar = ({}, {'secondary': 0.5}, {'drop': False})

    def __init__(self, secondary: float = 0.25, *, drop: bool = True) -> None:
        check_range('secondary', secondary, 0.0, 1.0)
        self.secondary, self.drops = secondary, drop

    @staticmethod
    def _coarse(grid: tuple[int, int]) -> tuple[int, int]:
        return -(-grid[0] // 2), -(-grid[1] // 2)

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        height, width = self._coarse(grid)
        hidden = int(height * width * self.secondary)
        if not self.drops:
            hidden += grid[0] * grid[1] - height * width
        return hidden, hidden

    def drop_counts(self, grid: tuple[int, int]) -> dict[int, int]:
        height, width = self._coarse(grid)
        number = grid[0] * grid[1] - height * width
        return {0: number if self.drops else 0}

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        if not self.limits(grid)[1]:
            raise ConfigError(
                f'secondary={self.secondary} hides none of the tokens that '
                f'are left of the grid {grid}')

    def __call__(self, context: MaskContext) -> Mask:
        height, width = context.grid
        rows, (tall, wide) = context.rows, self._coarse(context.grid)
        y, x = 2 * np.arange(tall)[:, None], 2 * np.arange(wide)
        # a cell at the far border may be one token high or wide
        y = y + integer_table(context.draws, 'cell/y',
                              np.minimum(2, height - y), tall, wide)
        x = x + integer_table(context.draws, 'cell/x',
                              np.minimum(2, width - x), tall, wide)
        number = tall * wide
        guessed = draw_ranks(
            context.draws, 'secondary',
            np.full(rows, int(number * self.secondary)), number)
        row = np.arange(rows)[:, None, None]
        gone = np.ones((rows, height, width), np.bool_)
        gone[row, y, x] = False
        hidden = np.zeros_like(gone)
        hidden[row, y, x] = guessed.reshape(rows, tall, wide)
        if self.drops:
            return mask_of_cells(
                hidden, context, gone, height * width - number)
        return mask_of_cells(hidden | gone, context)


@TASK_UTILS.register_module()
class CheckerboardMask(MaskGenerator):
    r"""Hides every other cell of s x s tokens.

    .. math:: hidden_{ij} = (\lfloor i / s \rfloor + \lfloor j / s \rfloor
        + phase) \bmod 2

    SymMIM masks the online view with s = 1 and the other one with s = 2;
    with :class:`mimplug.masking.PerView` the two global crops get one each.
    Draws: 'apply', 'phase'.

    Args:
        cell (int): s in tokens, >= 1. Defaults to 1.
        random_phase (bool): Draw for each row which colour is hidden.
            Defaults to True; False hides the first colour (phase 0).
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range, or (when a model is built)
            the grid has a single cell.

    Provenance: abstract. Source: Nguyen & Park, Symmetric masking strategy
    (arXiv 2408.12772).
    """

    provenance = 'abstract'
    examples: ClassVar = ({}, {'cell': 2},
                          {'random_phase': False, 'apply_prob': 0.5})

    def __init__(self, cell: int = 1, *, random_phase: bool = True,
                 apply_prob: float = 1.0) -> None:
        check_range('cell', cell, 1, 1_000_000)
        check_range('apply_prob', apply_prob, 0.0, 1.0)
        self.cell, self.random_phase = cell, random_phase
        self.apply_prob = apply_prob
        self.keyed = random_phase or apply_prob < 1

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        if max(grid) <= self.cell:
            raise ConfigError(
                f'cell={self.cell}: the grid {grid} is a single cell, of '
                'which all or nothing would be hidden')

    def _board(self, grid: tuple[int, int]) -> Cells:
        y, x = (np.arange(side) // self.cell for side in grid)
        odd: Cells = (y[:, None] + x) % 2 == 1
        return odd

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        odd = int(self._board(grid).sum())
        even = grid[0] * grid[1] - odd
        counts = (odd, even) if self.random_phase else (odd, odd)
        return 0 if self.apply_prob < 1 else min(counts), max(counts)

    def __call__(self, context: MaskContext) -> Mask:
        draws = context.draws
        kept = apply_probability(draws, self.apply_prob)
        phase = np.zeros(context.rows, np.bool_)
        if self.random_phase:
            phase = draws.row_integers('phase', 0, 1) == 1
        cells = self._board(context.grid) ^ phase[:, None, None]
        return mask_of_cells(cells & kept[:, None, None], context)
