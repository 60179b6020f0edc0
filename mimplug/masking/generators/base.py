"""The interface of every mask generator."""
from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from mimplug.errors import ConfigError, check_range
from mimplug.masking.build import build_part
from mimplug.masking.cells import Cells, mask_of_cells
from mimplug.masking.context import MaskContext
from mimplug.masking.mask import Mask
from mimplug.masking.needs import Needs
from mimplug.masking.ratios import RatioLike, Ratios, build_ratio
from mimplug.masking.select import (
    Counts,
    Selector,
    TopSelector,
    apply_probability,
    hide_ranks,
)

# How sure we are that a generator is what its source describes.
PROVENANCE = {
    'code': 'the formula was read in the released code',
    'abstract': 'only summaries were read; details are ours',
    'memory': 'from general knowledge; numbers are not verified',
    'ours': 'our own, or a plain combination of parts',
}


class MaskGenerator(abc.ABC):
    """Decides which cells of a batch are hidden.

    A generator is a callable without state: the mask is a function of the
    context. What it takes and gives is declared in attributes; tests run
    every registered generator through them.

    Attributes:
        needs (Needs): What it looks at beyond grid and draws.
        batch_coupled (bool): Whether the mask of a row depends on the other
            rows of the batch.
        exact_count (bool): Whether each row hides exactly the number of
            cells that its ratio asks for; ``Mask.capacity`` then equals the
            number of hidden cells.
        channels (int): C of the mask, 1 or 3.
        drops (bool): Whether the mask has a third state, ``dropped``. Each
            row then drops the same number of cells.
        pixels (bool): Whether it is made for the grid of all pixels of an
            image instead of patches or cells.
        keyed (bool): Whether the mask differs from sample to sample, also
            where nothing that it looks at differs.
        provenance (str): How sure we are of the formula, one of
            :data:`PROVENANCE`.
        examples (tuple[Mapping, ...]): Arguments of small working instances,
            with which the tests build the class.
        shown (tuple[Mapping, ...]): Arguments for pictures, where the
            examples are made for smaller grids.
    """

    needs: Needs = Needs()
    batch_coupled: bool = False
    exact_count: bool = False
    channels: int = 1
    drops: bool = False
    pixels: bool = False
    keyed: bool = True
    provenance: ClassVar[str] = 'ours'
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ()

    @abc.abstractmethod
    def __call__(self, context: MaskContext) -> Mask:
        """Returns the mask of the M rows of a batch.

        Args:
            context (MaskContext): The batch.
        """

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        """Raises if the generator cannot work; called when a model is built.

        Args:
            grid (tuple[int, int]): (Hp, Wp) of the views to be masked.
            num_layers (int, optional): Depth of the teacher, if it has
                layers with attention.

        Raises:
            ConfigError: If the grid or a layer does not fit.
        """
        if min(grid) < 1:
            raise ConfigError(f'grid={grid}: needs at least one cell')
        if self.needs.attention:
            if num_layers is None:
                raise ConfigError(
                    f'{type(self).__name__} needs the attention of a ViT '
                    'teacher; this model has none')
            self.needs.resolve(num_layers)

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Returns the least and the greatest number of cells that a row hides.

        Args:
            grid (tuple[int, int]): (Hp, Wp); a mask with 3 channels counts
                the cells of each.
        """
        return 0, grid[0] * grid[1] * self.channels

    def drop_counts(self, grid: tuple[int, int]) -> dict[int, int] | None:
        """Returns how many cells each row drops.

        Args:
            grid (tuple[int, int]): (Hp, Wp).

        Returns:
            dict[int, int] | None: First epoch -> number from then on; None
            if it is not known beforehand.
        """
        return None if self.drops else {0: 0}


def build_generator(generator: MaskGenerator | Mapping[str, Any]
                    ) -> MaskGenerator:
    """Returns a generator from an object or a config.

    Args:
        generator (MaskGenerator | dict): ``type`` is written with or without
            the scope ``mimplug.``.

    Raises:
        ConfigError: If the type or an argument is unknown.
    """
    return build_part(
        generator, MaskGenerator,  # type: ignore[type-abstract]
        'mask_generator')


class RatioMask(MaskGenerator):
    r"""Hides a share of a row, and keeps the mask with a probability.

    With ratio r a row is to hide :math:`k = \lfloor L r \rfloor` cells
    (:meth:`counts`), and keeps its mask iff not u > apply_prob.

    Args:
        ratio (RatioSampler | float | Sequence | dict): See
            :func:`mimplug.masking.build_ratio`.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range.
    """

    exact_count = True

    def __init__(self, ratio: RatioLike, *, apply_prob: float = 1.0) -> None:
        check_range('apply_prob', apply_prob, 0.0, 1.0)
        self.ratio = build_ratio(ratio)
        self.apply_prob = apply_prob
        self.batch_coupled = self.ratio.batch_coupled

    def counts(self, ratios: Ratios, grid: tuple[int, int]) -> Counts:
        """Returns (M,) int64, how many cells the ratios (M,) ask for."""
        return (grid[0] * grid[1] * ratios).astype(np.int64)

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        low, high = self.counts(np.array(self.ratio.bounds), grid).tolist()
        if self.apply_prob < 1 or not self.exact_count:
            low = 0
        return low, high


class ScoreMask(RatioMask):
    """Hides tokens by the rank of a score.

    The parts are separate: scores (a subclass) -> ratio -> selection ->
    application with a probability.

    Args:
        ratio (RatioSampler | float | Sequence | dict): See
            :func:`mimplug.masking.build_ratio`.
        select (Selector | dict, optional): Defaults to the largest scores.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.
    """

    def __init__(self, ratio: RatioLike, *,
                 select: Selector | Mapping[str, Any] | None = None,
                 apply_prob: float = 1.0) -> None:
        super().__init__(ratio, apply_prob=apply_prob)
        self.select = build_part(
            select or TopSelector(), Selector, 'select')
        self.exact_count = self.select.exact

    @abc.abstractmethod
    def scores(self, context: MaskContext) -> torch.Tensor:
        """Returns (M, L) floats on the device of the context."""

    def __call__(self, context: MaskContext) -> Mask:
        counts = self.counts(self.ratio(context), context.grid)
        ranks = self.select.ranks(counts, context, self.ratio)
        kept = apply_probability(context.draws, self.apply_prob)
        ranks = ranks & kept[:, None]
        order = self.select.order(self.scores(context), context)
        hidden = hide_ranks(order, ranks)
        return Mask(hidden.reshape(context.rows, 1, *context.grid),
                    capacity=int(np.count_nonzero(ranks)))


class CellMask(RatioMask):
    """Hides cells that are chosen on the host, so their number is known."""

    @abc.abstractmethod
    def cells(self, context: MaskContext) -> Cells:
        """Returns (M, Hp, Wp) bool, True = hidden."""

    def __call__(self, context: MaskContext) -> Mask:
        kept = apply_probability(context.draws, self.apply_prob)
        cells = self.cells(context) & kept[:, None, None]
        return mask_of_cells(cells, context)
