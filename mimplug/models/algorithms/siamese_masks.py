"""Settings of masked views and of hard negatives in siamese algorithms."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from typing import Any, TypeVar

from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking import ImageMasker

BRANCHES = ('query', 'key', 'both')

T = TypeVar('T', bound='MaskedView')


@dataclass(frozen=True, kw_only=True)
class MaskedView:
    """Where to hide, and what to put there.

    Args:
        mask_generator (dict | MaskGenerator): Any generator of
            :mod:`mimplug.masking` that looks at no ViT and drops nothing.
        fill (dict | Fill): Any of :mod:`mimplug.masking.fills`.
        cells (int | tuple[int, int]): Cells along each side of the view,
            for generators that do not work on pixels. Defaults to 7.

    Raises:
        ConfigError: A generator that does not fit.
    """
    mask_generator: Any
    fill: Any
    cells: Any = 7

    def __post_init__(self) -> None:
        check_kind(self.masker)

    @cached_property
    def masker(self) -> ImageMasker:
        """What masks a batch of images."""
        return ImageMasker(self.mask_generator, self.fill, cells=self.cells)


@dataclass(frozen=True, kw_only=True)
class ViewMask(MaskedView):
    """Masks of some views.

    Args:
        views (Sequence[int]): Which of the two. Defaults to (0, ).
        branch (str): Who sees the masked view: ``'query'`` (the branch that
            learns), ``'key'`` (the branch that gives targets) or ``'both'``.
            Published is ``'query'``, the default.
        **kwargs: Arguments of :class:`MaskedView`.

    Raises:
        ConfigError: An unknown view or branch.
    """
    views: Sequence[int] = (0, )
    branch: str = 'query'

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice('branch', self.branch, BRANCHES)
        if not self.views or not set(self.views) <= {0, 1}:
            raise ConfigError(
                f'views={list(self.views)}: allowed are 0 and 1, once each')

    @property
    def branches(self) -> tuple[str, ...]:
        """The branches that see it."""
        return ('query', 'key') if self.branch == 'both' else (self.branch, )


@dataclass(frozen=True, kw_only=True)
class HardNegative(MaskedView):
    r"""Views of which the object is hidden: negatives of their image.

    Args:
        num (int): n, masks of a view that are drawn, >= 1. Defaults to 1.
        alpha (float): :math:`\alpha` on their logits, > 0. Defaults to the
            recipe's 2 (the released script defaults to 1).
        **kwargs: Arguments of :class:`MaskedView`.

    Raises:
        ConfigError: A number out of range.
    """
    num: int = 1
    alpha: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range('hard_negative.num', self.num, 1, 1024)
        check_range('hard_negative.alpha', self.alpha, 1e-6, float('inf'))


def check_kind(masker: ImageMasker) -> None:
    """Refuses generators that a network for images cannot serve.

    Args:
        masker (ImageMasker): With its ``mask_generator``.

    Raises:
        ConfigError: It drops tokens or is made for many views.
    """
    generator = masker.mask_generator
    name = type(generator).__name__
    if generator.drops:
        raise ConfigError(
            f'{name} drops tokens; a convolutional network cannot leave '
            'pixels out')
    views = getattr(generator, 'num_views', None)
    if views not in (None, 1):
        raise ConfigError(
            f'{name} is made for {views} views; give each of the views an '
            'entry of view_masks')


def read_settings(kind: type[T], name: str, config: Mapping[str, Any]) -> T:
    """Settings from a config.

    Args:
        kind (type): The class of the settings.
        name (str): What the algorithm calls them, for messages.
        config (Mapping): Arguments of the class.

    Raises:
        ConfigError: An unknown or missing argument, or a value out of range.
    """
    known = {part.name: part for part in fields(kind)}
    for key in config:
        check_choice(f'{name} key', key, known)
    missing = [key for key, part in known.items()
               if part.default is MISSING and key not in config]
    if missing:
        raise ConfigError(f'{name} needs {", ".join(missing)}')
    return kind(**config)


def read_view_masks(configs: Sequence[Mapping[str, Any]],
                    used: Mapping[str, set[int]]) -> list[ViewMask]:
    """The masks of an algorithm.

    Args:
        configs (Sequence[Mapping]): Arguments of :class:`ViewMask`.
        used (Mapping[str, set[int]]): The views that each branch looks at.

    Raises:
        ConfigError: A view is masked twice, or in a branch that does not
            look at it.
    """
    if isinstance(configs, Mapping):
        raise ConfigError('view_masks: needs a list of dicts, got one dict')
    masks = [read_settings(ViewMask, 'view_masks', config)
             for config in configs]
    places = [(branch, view) for mask in masks for view in mask.views
              for branch in mask.branches]
    for branch, view in places:
        if view not in used.get(branch, set()):
            raise ConfigError(
                f'view_masks: views=[{view}], branch={branch!r}: this branch '
                f'of the algorithm sees the views '
                f'{sorted(used.get(branch, set()))}')
        if places.count((branch, view)) > 1:
            raise ConfigError(
                f'view_masks: view {view} of the {branch} branch is masked '
                'twice; mimplug.MixedMask chooses between generators')
    return masks
