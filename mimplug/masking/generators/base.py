"""The interface of every mask generator."""
from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch

from mimplug.errors import ConfigError, check_range
from mimplug.masking.build import build_part
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
        drops (bool): Whether the mask has a third state, ``dropped``.
        examples (tuple[Mapping, ...]): Arguments of small working instances,
            with which the tests build the class.
    """

    needs: Needs = Needs()
    batch_coupled: bool = False
    exact_count: bool = False
    channels: int = 1
    drops: bool = False
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)

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


class ScoreMask(MaskGenerator):
    r"""Hides tokens by the rank of a score.

    The parts are separate: scores (a subclass) -> ratio -> selection ->
    application with a probability. With ratio r a row picks
    :math:`k = \lfloor L r \rfloor` tokens, and keeps its mask iff not
    u > apply_prob.

    Args:
        ratio (RatioSampler | float | Sequence | dict): See
            :func:`mimplug.masking.build_ratio`.
        select (Selector | dict, optional): Defaults to the largest scores.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.
    """

    exact_count = True

    def __init__(self, ratio: RatioLike, *,
                 select: Selector | Mapping[str, Any] | None = None,
                 apply_prob: float = 1.0) -> None:
        check_range('apply_prob', apply_prob, 0.0, 1.0)
        self.ratio = build_ratio(ratio)
        self.select = build_part(
            select or TopSelector(), Selector, 'select')
        self.apply_prob = apply_prob
        self.batch_coupled = self.ratio.batch_coupled

    @abc.abstractmethod
    def scores(self, context: MaskContext) -> torch.Tensor:
        """Returns (M, L) floats on the device of the context."""

    def counts(self, ratios: Ratios, context: MaskContext) -> Counts:
        """Returns (M,) int64, how many tokens the ratios (M,) pick."""
        return (context.length * ratios).astype(np.int64)

    def __call__(self, context: MaskContext) -> Mask:
        counts = self.counts(self.ratio(context), context)
        ranks = self.select.ranks(counts, context, self.ratio)
        kept = apply_probability(context.draws, self.apply_prob)
        ranks = ranks & kept[:, None]
        order = self.select.order(self.scores(context), context)
        hidden = hide_ranks(order, ranks)
        return Mask(hidden.reshape(context.rows, 1, *context.grid),
                    capacity=int(np.count_nonzero(ranks)))
