"""Each row by one of several generators, also of different kinds."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mimplug.draws import to_device
from mimplug.errors import ConfigError, check_range
from mimplug.masking.cells import as_grid, check_divides, enlarge
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import MaskGenerator, build_generator
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class MixedMask(MaskGenerator):
    r"""Gives each row to one of several generators by chance.

    Row i goes to generator g with probability :math:`p_g` ('mixed'), which
    :attr:`Mask.kind` tells. If one of them works on pixels, all do: the masks
    of the others are made on a coarse grid and enlarged. If one of them has
    three channels, all have.

    The published high-pass recipe hides with probability 0.2 all but a
    square, with 0.8 x 0.3 the same cells in all channels, and with 0.8 x 0.7
    other cells in each.

    Args:
        generators (Sequence[MaskGenerator | dict]): At least one; none that
            drops cells.
        probs (Sequence[float]): :math:`p_g` of each; their sum is 1.
        cells (int | tuple[int, int]): The coarse grid. Not used where no
            generator works on pixels. Defaults to the published 7.

    Raises:
        ConfigError: If numbers do not fit, or a generator cannot be mixed;
            when a model is built also if the cells do not divide the image.

    Provenance: code. Source: ``Dataset/random_mask_hp.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """

    provenance = 'code'
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {'generators': ({'type': 'FocalMask', 'side': 0.5},
                        {'type': 'SaliencyMask'},
                        {'type': 'SaliencyMask', 'channelwise': True}),
         'probs': (0.2, 0.24, 0.56), 'cells': 2},
        {'generators': ({'type': 'FocalMask', 'hide': 'inside'},
                        {'type': 'SaliencyMask', 'mode': 'foreground'}),
         'probs': (0.5, 0.5), 'cells': (2, 2)},
        {'generators': ({'type': 'RandomMask', 'ratio': 0.5},
                        {'type': 'BlockMask', 'ratio': 0.3}),
         'probs': (0.3, 0.7)})
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {'generators': ({'type': 'FocalMask'},
                        {'type': 'SaliencyMask', 'cap': 0.55},
                        {'type': 'SaliencyMask', 'cap': 0.55,
                         'channelwise': True}),
         'probs': (0.2, 0.24, 0.56)},
        {'generators': ({'type': 'FocalMask', 'side': 0.58,
                         'hide': 'inside'},
                        {'type': 'SaliencyMask', 'mode': 'foreground'}),
         'probs': (0.5, 0.5)})

    def __init__(self,
                 generators: Sequence[MaskGenerator | Mapping[str, Any]],
                 probs: Sequence[float],
                 cells: int | tuple[int, int] = 7) -> None:
        self.generators = [build_generator(part) for part in generators]
        self.cells = as_grid(cells)
        self.probs = tuple(probs)
        self._check_parts()
        self.pixels = any(part.pixels for part in self.generators)
        self.channels = max(part.channels for part in self.generators)
        self.needs = reduce(or_, (part.needs for part in self.generators))
        self.batch_coupled = any(
            part.batch_coupled for part in self.generators)
        self.keyed = len(self.generators) > 1 or self.generators[0].keyed

    def _check_parts(self) -> None:
        if not self.generators or len(self.probs) != len(self.generators):
            raise ConfigError(
                f'{len(self.generators)} generators with {len(self.probs)} '
                'probs: needs at least one, and a probability for each')
        for prob in self.probs:
            check_range('probs', prob, 0.0, 1.0)
        if abs(sum(self.probs) - 1) > 1e-6:
            raise ConfigError(
                f'probs={self.probs}: their sum is {sum(self.probs):.6g}, '
                'not 1')
        for part in self.generators:
            if part.drops or getattr(part, 'num_views', None) or isinstance(
                    part, MixedMask):
                raise ConfigError(
                    f'generators: {type(part).__name__} cannot be mixed: no '
                    'generator that drops cells, is made for given views or '
                    'is a mixture itself')

    def _grid(self, part: MaskGenerator, grid: tuple[int, int]
              ) -> tuple[int, int]:
        """The grid that a part works on."""
        return self.cells if self.pixels and not part.pixels else grid

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        if self.pixels:
            check_divides(self.cells, grid)
        for part in self.generators:
            part.check(self._grid(part, grid), num_layers)

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        lows, highs = [], []
        for part in self.generators:
            own = self._grid(part, grid)
            area = (grid[0] // own[0]) * (grid[1] // own[1])
            factor = area * self.channels // part.channels
            low, high = part.limits(own)
            lows.append(low * factor)
            highs.append(high * factor)
        return min(lows), max(highs)

    def __call__(self, context: MaskContext) -> Mask:
        drawn = context.draws.row_uniform('mixed')
        ends = np.cumsum(self.probs)[:-1]
        kind = np.searchsorted(ends, drawn, side='right')
        kinds = to_device(kind, torch.device(context.device))
        hidden, boxes = self._joined(context, kinds)
        capacity = int(sum(
            np.count_nonzero(kind == number)
            * self._most(part, context.grid)
            for number, part in enumerate(self.generators)))
        return Mask(
            hidden, boxes=boxes, capacity=min(capacity, hidden.numel()),
            kind=kinds, num_kinds=len(self.generators),
            cells=self.cells if self.pixels else None)

    def _most(self, part: MaskGenerator, grid: tuple[int, int]) -> int:
        """Cells that a row of this generator hides at most."""
        own = self._grid(part, grid)
        area = (grid[0] // own[0]) * (grid[1] // own[1])
        return part.limits(own)[1] * area * self.channels // part.channels

    def _joined(self, context: MaskContext, kinds: Tensor
                ) -> tuple[Tensor, Tensor | None]:
        """Hidden cells (M, C, H, W), and boxes where a part has any."""
        grids: dict[tuple[int, int], Tensor] = {}
        boxes = None
        for number, part in enumerate(self.generators):
            own = self._grid(part, context.grid)
            view = context
            if own != context.grid:
                # attention has as many columns as the fine grid has cells
                view = replace(context, grid=own, attention=None)
            mask = part(view)
            chosen = kinds == number
            hidden = mask.hidden & chosen[:, None, None, None]
            if own in grids:
                hidden = grids[own] | hidden
            grids[own] = hidden
            if mask.boxes is not None:
                mine = mask.boxes * chosen[:, None]
                boxes = mine if boxes is None else boxes + mine
        hidden = reduce(or_, (enlarge(cells, context.grid)
                              for cells in grids.values()))
        return hidden.expand(-1, self.channels, -1, -1), boxes
