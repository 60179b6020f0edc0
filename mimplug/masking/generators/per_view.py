"""Another generator for each view."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from typing import Any, ClassVar

import numpy as np
import torch

from mimplug.draws import to_device
from mimplug.errors import ConfigError, check_choice
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import MaskGenerator, build_generator
from mimplug.masking.mask import Mask
from mimplug.masking.needs import Needs
from mimplug.registry import TASK_UTILS

ASSIGN = ('by_crop', 'random', 'cycle')


@TASK_UTILS.register_module()
class PerView(MaskGenerator):
    r"""Gives the views of a batch different mask generators.

    With S generators, view v (0-based) at optimiser step t gets generator

    - 'by_crop': v; one generator for each view;
    - 'cycle': (v + t) mod S;
    - 'random': one drawn uniformly for each view of each image
      ('per_view').

    The teacher gives what any of them needs in one forward pass. Each
    generator sees only its rows, under the names of draws that it always
    uses.

    Args:
        generators (Sequence[MaskGenerator | dict]): S >= 1 generators.
        assign (str): 'by_crop', 'random' or 'cycle'. Defaults to 'by_crop'.

    Raises:
        ConfigError: If there is no generator, the assignment is unknown, or
            the masks are of different kinds (channels, dropped cells); when
            a model is built also: different numbers of dropped cells.

    Source: ``multimask_main_ibot.py`` of
    DimitrisReppas/MIM_on_self-supervision ('by_crop': there crop 0 is masked
    by block 11 and crop 1 by block 4); the other two are ours.

    Example:
        >>> layers = PerView([dict(type='AttentionMask', layer=layer)
        ...                   for layer in (11, 4)])
        >>> layers.needs.cls_rows
        (4, 11)
    """

    provenance: ClassVar[str] = 'code'
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {'generators': (
            {'type': 'AttentionMask', 'layer': -1},
            {'type': 'AttentionMask', 'layer': 0},
            {'type': 'RandomMask', 'ratio': 0.3}), 'assign': 'by_crop'},
        {'generators': (
            {'type': 'RolloutMask', 'preset': 'last'},
            {'type': 'AttentionMask', 'score': {'type': 'LogScore'}},
            {'type': 'BlockMask', 'ratio': 0.4}), 'assign': 'random'},
        {'generators': (
            {'type': 'AttentionMask', 'mode': 'hint', 'show_max': 0.3},
            {'type': 'AttentionMask', 'mode': 'low'}), 'assign': 'cycle'},
    )

    def __init__(self, generators: Sequence[MaskGenerator | Mapping],
                 assign: str = 'by_crop') -> None:
        check_choice('assign', assign, ASSIGN)
        if not isinstance(generators, Sequence) or not generators:
            raise ConfigError(
                f'generators={generators!r}: needs a sequence of at least '
                'one mask generator')
        self.generators = [build_generator(part) for part in generators]
        self.assign = assign
        self._check_nested()
        self.needs = reduce(or_, (part.needs for part in self.generators),
                            Needs())
        self.batch_coupled = self._any('batch_coupled')
        self.exact_count = not self._any('exact_count', wanted=False)
        self.keyed = assign == 'random' or not self._any(
            'keyed', wanted=False)
        self.channels = self._common('channels')
        self.drops = self._common('drops')

    def _check_nested(self) -> None:
        """Rows that were drawn are no view, which the other two count."""
        if self.assign == 'random' and any(
                isinstance(part, PerView) and part.assign != 'random'
                for part in self.generators):
            raise ConfigError(
                "assign='random' with a PerView among the generators: allowed "
                "is one that has assign='random' itself")

    def _any(self, name: str, wanted: bool = True) -> bool:
        return any(getattr(part, name) == wanted for part in self.generators)

    def _common(self, name: str) -> Any:
        """An attribute that must be the same for all generators."""
        values = [getattr(part, name) for part in self.generators]
        if len(set(values)) > 1:
            raise ConfigError(
                f'generators with {name}={values}: PerView joins masks of '
                'one kind')
        return values[0]

    @property
    def num_views(self) -> int | None:
        """Views that it is made for; None for any number."""
        return len(self.generators) if self.assign == 'by_crop' else None

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        for part in self.generators:
            part.check(grid, num_layers)
        counts = [part.drop_counts(grid) for part in self.generators]
        known = [count for count in counts if count is not None]
        if any(count != known[0] for count in known):
            raise ConfigError(
                f'generators that drop {counts} of the cells of the grid '
                f'{grid} from an epoch on: a student needs rows of one '
                'length')
        if self.drops and self.batch_coupled and len(counts) > 1:
            raise ConfigError(
                'generators whose rows drop as much as the batch allows: '
                'each would drop another number; MultiBlockMask has keep=…')

    def drop_counts(self, grid: tuple[int, int]) -> dict[int, int] | None:
        return self.generators[0].drop_counts(grid)

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        low, high = zip(*(part.limits(grid) for part in self.generators))
        return min(low), max(high)

    def __call__(self, context: MaskContext) -> Mask:
        if self.assign == 'random':
            return self._mixed(context)
        masks = []
        for view in range(context.num_views):
            part = context.view(view)
            masks.append(self._generator_of(part)(part))
        return Mask.cat(masks)

    def _generator_of(self, context: MaskContext) -> MaskGenerator:
        """The generator of a context of one view."""
        view = context.first_view
        if self.assign == 'cycle':
            turn = (view + context.progress.step) % len(self.generators)
            return self.generators[turn]
        if view >= len(self.generators):
            raise ValueError(
                f'view {view} has no generator: PerView by_crop was given '
                f'{len(self.generators)}; give one for each view')
        return self.generators[view]

    def _mixed(self, context: MaskContext) -> Mask:
        """Each row by the generator that it drew."""
        last = len(self.generators) - 1
        drawn = context.draws.row_integers('per_view', 0, last)
        order = np.argsort(drawn, kind='stable')
        masks = []
        for number, generator in enumerate(self.generators):
            rows = np.flatnonzero(drawn == number)
            if rows.size:
                masks.append(generator(context.pick(rows, generator.needs)))
        back = to_device(np.argsort(order), torch.device(context.device))
        mask = Mask.cat(masks)
        moved: dict[str, Any] = {
            name: value[back] for name in (
                'hidden', 'dropped', 'boxes', 'kind')
            if (value := getattr(mask, name)) is not None}
        return replace(mask, **moved)
