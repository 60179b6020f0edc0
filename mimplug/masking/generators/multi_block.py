"""Several target blocks and one context block (I-JEPA)."""
from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from mimplug.errors import ConfigError, check_range
from mimplug.masking.cells import (
    Cells,
    Ints,
    check_sides,
    force_counts,
    integer_table,
    mask_of_cells,
    rectangles,
)
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import MaskGenerator
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS

Range = tuple[float, float]


def _check_pair(name: str, pair: Range, least: float, most: float) -> None:
    low, high = pair
    check_range(f'{name}[1]', high, least, most)
    check_range(f'{name}[0]', low, least, high)


@TASK_UTILS.register_module()
class MultiBlockMask(MaskGenerator):
    r"""I-JEPA: targets are hidden, a context block is seen, the rest dropped.

    For the whole batch one size of the targets and one of the context is
    drawn, with the *same* number u for scale and aspect ratio:

    .. math:: s = s_0 + u (s_1 - s_0), \quad a = a_0 + u (a_1 - a_0), \quad
        h = round \sqrt{\lfloor L s \rfloor a}, \quad
        w = round \sqrt{\lfloor L s \rfloor / a}

    cut below the size of the grid. Each row puts its target blocks and its
    context block (a = 1) somewhere; what is in a target leaves the context.
    If no more than ``min_keep`` tokens are left, the context block is placed
    anew, and after ``attempts`` failures the row gives up one target.

    The student needs rows of one length. As published, contexts are cut to
    what the shortest row of the batch has, which couples the rows: what is
    *dropped* depends on the batch, what is hidden does not. ``keep`` gives
    every row the same number of tokens instead. Which tokens leave is drawn
    (the reference cuts off the last ones). Draws: 'target/size' and
    'context/size' of the batch, 'target/y', 'target/x', 'context/y',
    'context/x', 'fill' of the rows.

    Args:
        num_targets (int): Target blocks of a row, >= 1. Defaults to 4.
        target_scale (tuple[float, float]): Defaults to (0.15, 0.2).
        target_aspect (tuple[float, float]): Defaults to (0.75, 1.5).
        context_scale (tuple[float, float]): Defaults to (0.85, 1.0).
        min_keep (int): Defaults to 10.
        keep (float, optional): Share of the tokens that the student sees,
            hidden ones included, in (0, 1). Defaults to None, as published.
        attempts (int): >= 1. Defaults to 20.

    Raises:
        ConfigError: If a number is out of range, or (when a model is built)
            the blocks do not fit into the grid.

    Provenance: code. Source: Assran et al., I-JEPA, CVPR 2023
    (arXiv 2301.08243), ``src/masks/multiblock.py`` of
    facebookresearch/ijepa. There a predictor stands for the mask token, and
    blocks never touch the last row and column, an off-by-one error that is
    not repeated.
    """

    provenance = 'code'
    drops = True
    examples: ClassVar = (
        {'min_keep': 1},
        {'num_targets': 2, 'target_scale': (0.1, 0.15), 'min_keep': 1,
         'keep': 0.8})

    def __init__(self, num_targets: int = 4, *,
                 target_scale: Range = (0.15, 0.2),
                 target_aspect: Range = (0.75, 1.5),
                 context_scale: Range = (0.85, 1.0), min_keep: int = 10,
                 keep: float | None = None, attempts: int = 20) -> None:
        check_range('num_targets', num_targets, 1, 10_000)
        check_range('attempts', attempts, 1, 10_000)
        check_range('min_keep', min_keep, 0, float('inf'))
        _check_pair('target_scale', target_scale, 1e-6, 1.0)
        _check_pair('target_aspect', target_aspect, 1e-6, 1e6)
        _check_pair('context_scale', context_scale, 1e-6, 1.0)
        if keep is not None:
            check_range('keep', keep, 1e-6, 1.0)
        self.num_targets, self.attempts = num_targets, attempts
        self.target = (target_scale, target_aspect)
        self.context: tuple[Range, Range] = (context_scale, (1.0, 1.0))
        self.min_keep, self.keep = min_keep, keep
        self.batch_coupled = keep is None

    @staticmethod
    def _size(of: tuple[Range, Range], share: float, grid: tuple[int, int],
              other: float | None = None) -> tuple[int, int]:
        """Height and width; ``other`` is u of the aspect ratio, if not s's."""
        (low, high), (flat, steep) = of
        area = int(grid[0] * grid[1] * (low + share * (high - low)))
        aspect = flat + (share if other is None else other) * (steep - flat)
        sides = math.sqrt(area * aspect), math.sqrt(area / aspect)
        tall, wide = (min(max(1, round(side)), whole - 1)
                      for side, whole in zip(sides, grid))
        return tall, wide

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        low = [self._size(self.target, 0.0, grid, u) for u in (0.0, 1.0)]
        high = [self._size(self.target, 1.0, grid, u) for u in (0.0, 1.0)]
        least = min(tall for tall, _ in low) * min(wide for _, wide in low)
        most = max(tall for tall, _ in high) * max(wide for _, wide in high)
        return least, min(self.num_targets * most, grid[0] * grid[1] - 1)

    def drop_counts(self, grid: tuple[int, int]) -> dict[int, int] | None:
        if self.keep is None:
            return None
        length = grid[0] * grid[1]
        return {0: length - int(self.keep * length)}

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        check_sides(grid)
        tall, wide = self._size(self.context, 0.0, grid)
        left = tall * wide - self._largest_target(grid)
        if left <= self.min_keep:
            raise ConfigError(
                f'min_keep={self.min_keep}: on the grid {grid} a context of '
                f'{tall} x {wide} may have only {max(0, left)} tokens '
                'outside of a target')
        most, length = self.limits(grid)[1], grid[0] * grid[1]
        if self.keep is not None and int(self.keep * length) <= most:
            raise ConfigError(
                f'keep={self.keep}: of the {length} tokens of the grid '
                f'{grid} up to {most} may be hidden; more must be kept')

    def _largest_target(self, grid: tuple[int, int]) -> int:
        one = MultiBlockMask(1, target_scale=self.target[0],
                             target_aspect=self.target[1])
        return one.limits(grid)[1]

    def __call__(self, context: MaskContext) -> Mask:
        hidden, visible = self._blocks(context)
        number = hidden.sum((1, 2))
        if self.keep is None:
            # room for a visible token where targets fill a row
            kept = max(int((hidden | visible).sum((1, 2)).min()),
                       int(number.max()) + 1)
        else:
            kept = int(self.keep * context.length)
        visible = force_counts(
            visible, kept - number, context.draws, 'fill', ~hidden)
        return mask_of_cells(hidden, context, ~(hidden | visible),
                             context.length - kept)

    def _blocks(self, context: MaskContext) -> tuple[Cells, Cells]:
        """Targets and what they leave of the context, (M, Hp, Wp) each."""
        draws, grid, rows = context.draws, context.grid, context.rows
        size = self._size(
            self.context, draws.batch_uniform('context/size'), grid)
        targets = self._targets(context)
        number = np.full(rows, self.num_targets)
        hidden, visible = np.zeros((2, rows, *grid), np.bool_)
        waiting: Ints = np.arange(rows)
        last = self.attempts * self.num_targets
        for attempt in range(last + 1):
            kept = np.arange(self.num_targets) < number[waiting, None]
            union = (targets[waiting] & kept[:, :, None, None]).any(1)
            y, x = (draws.row_integers(f'context/{axis}', 0, whole - side,
                                       where=waiting, n=attempt)
                    for axis, whole, side in zip('yx', grid, size))
            left = rectangles(y, x, *size, grid) & ~union
            hidden[waiting], visible[waiting] = union, left
            waiting = waiting[left.sum((1, 2)) <= self.min_keep]
            if not waiting.size:
                break
            if (attempt + 1) % self.attempts == 0:
                number[waiting] = np.maximum(number[waiting] - 1, 1)
        return hidden, visible

    def _targets(self, context: MaskContext) -> Cells:
        """(M, T, Hp, Wp) bool."""
        draws, grid = context.draws, context.grid
        size = self._size(
            self.target, draws.batch_uniform('target/size'), grid)
        y, x = (integer_table(draws, f'target/{axis}', whole - side + 1,
                              self.num_targets)
                for axis, whole, side in zip('yx', grid, size))
        return rectangles(y, x, *size, grid)
