"""Mask generators as rows of a gallery."""
from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

import numpy as np

from mimplug.errors import ConfigError, suggest
from mimplug.masking import Mask, MaskGenerator, Needs, build_generator
from mimplug.registry import SCOPE, TASK_UTILS

from .gallery import GalleryRow, render_gallery
from .mask_grid import overlay_heat, overlay_hidden, to_pictures
from .mask_inputs import MaskInputs


def generator_classes() -> dict[str, type[MaskGenerator]]:
    """Every registered mask generator by name, sorted."""
    TASK_UTILS.import_from_location()
    return {name: part for name, part in sorted(
                TASK_UTILS.module_dict.items())
            if inspect.isclass(part) and issubclass(part, MaskGenerator)}


def example_generators(name: str) -> list[tuple[str, MaskGenerator]]:
    """(settings in words, generator) of each example of a class.

    Where a class has arguments for pictures, these are taken.

    Args:
        name (str): A registered name, with or without the scope.

    Raises:
        ConfigError: Unknown; names the nearest.
    """
    classes = generator_classes()
    short = name.removeprefix(f'{SCOPE}.')
    if short not in classes:
        raise ConfigError(
            f'mask generator {name!r}: {suggest(short, classes)}')
    return [(settings_text(example),
             build_generator(dict(type=short, **example)))
            for example in classes[short].shown or classes[short].examples]


def settings_text(settings: Mapping[str, Any]) -> str:
    """Arguments as one would write them in a config."""
    return ', '.join(f'{name}={_value(value)}'
                     for name, value in settings.items()) or 'defaults'


def _value(value: Any) -> str:
    """A nested setting, short: ``RawScore(layer=3)``."""
    if isinstance(value, Mapping):
        rest = {name: one for name, one in value.items() if name != 'type'}
        inner = settings_text(rest) if rest else ''
        if 'type' not in value:
            return f'dict({inner})'
        return f'{str(value["type"]).removeprefix(f"{SCOPE}.")}({inner})'
    if isinstance(value, (list, tuple)):
        return f'({", ".join(map(_value, value))})'
    return repr(value)


def always(generator: MaskGenerator) -> MaskGenerator:
    """The same generator, masking every image: for pictures only.

    Args:
        generator (MaskGenerator): Changed in place, and its parts.
    """
    if hasattr(generator, 'apply_prob'):
        generator.apply_prob = 1.0
    for part in getattr(generator, 'generators', ()):
        always(part)
    return generator


def input_rows(inputs: MaskInputs, *, cell: int, attention: bool,
               note: str = '') -> list[GalleryRow]:
    """The images, and the attention over them.

    Args:
        inputs (MaskInputs): Images and network.
        cell (int): Least size of a picture in pixels.
        attention (bool): Whether to show it.
        note (str): Where the attention comes from.
    """
    pictures = to_pictures(inputs.images.cpu().numpy(), cell)
    rows = [GalleryRow('images', (), pictures)]
    if attention:
        maps = inputs.attention_map().float().cpu().numpy()
        rows.append(GalleryRow('attention', (note, ), [
            overlay_heat(*pair) for pair in zip(pictures, maps)]))
    return rows


def mask_rows(name: str, settings: str, generator: MaskGenerator,
              inputs: MaskInputs, *, cell: int = 160) -> list[GalleryRow]:
    """One row a view of the masks of a generator.

    Args:
        name (str): In large letters.
        settings (str): Below it.
        generator (MaskGenerator): Any that fits the inputs.
        inputs (MaskInputs): Images and what is known about them.
        cell (int): Least size of a picture in pixels. Defaults to 160.

    Returns:
        list[GalleryRow]: V rows; one unless the generator is made for more
        views.

    Raises:
        ConfigError: The generator does not fit the grid or the network.
    """
    views = getattr(generator, 'num_views', None) or 1
    mask = generator(inputs.context(generator, num_views=views))
    pictures = to_pictures(inputs.images.cpu().numpy(), cell)
    source = inputs.describe(generator.needs)
    rows = []
    for view, (hidden, dropped) in enumerate(_states(mask, views)):
        title = name if views == 1 else f'{name}, view {view + 1}'
        share = f'hidden {hidden.mean():.0%}'
        if dropped is not None:
            share += f', dropped {dropped.mean():.0%}'
        rows.append(GalleryRow(
            title, tuple(filter(None, (settings, source, share))),
            _drawn(pictures, hidden, dropped)))
    return rows


def _states(mask: Mask, views: int
            ) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Hidden and dropped cells (B, C, Hp, Wp) of each view."""
    hidden = np.split(mask.hidden.cpu().numpy(), views)
    if mask.dropped is None:
        yield from ((part, None) for part in hidden)
    else:
        yield from zip(hidden, np.split(mask.dropped.cpu().numpy(), views))


def _drawn(pictures: Sequence[np.ndarray], hidden: np.ndarray,
           dropped: np.ndarray | None) -> list[np.ndarray]:
    """The pictures with the masks on them."""
    cells = hidden[:, 0] if hidden.shape[1] == 1 else hidden
    gone: list[np.ndarray | None] = [None] * len(pictures)
    if dropped is not None:
        gone = list(np.asarray(dropped.any(1)))
    return [overlay_hidden(*one) for one in zip(pictures, cells, gone)]


def render_masks(generators: Sequence[tuple[str, str, MaskGenerator]],
                 inputs: MaskInputs, *, title: str = '', cell: int = 160
                 ) -> np.ndarray:
    """A gallery: the images, the attention if it is used, and the masks.

    Args:
        generators (Sequence): Name, settings in words, and generator of each
            row. They will mask every image from now on.
        inputs (MaskInputs): Images and what is known about them.
        title (str): A line on top. Defaults to none.
        cell (int): Least size of a picture in pixels. Defaults to 160.

    Returns:
        ndarray: (height, width, 3) uint8.

    Raises:
        ConfigError: None of the generators fits the grid, or the only one
            does not.
    """
    rows: list[GalleryRow] = []
    misfits: list[str] = []
    for name, settings, generator in generators:
        try:
            rows += mask_rows(name, settings, always(generator), inputs,
                              cell=cell)
        except ConfigError as error:
            if len(generators) == 1:
                raise
            misfits.append(f'{name} ({settings}): {error}')
    if not rows:
        raise ConfigError(f'no generator can be drawn: {"; ".join(misfits)}')
    asked = reduce(or_, (one.needs for _, _, one in generators))
    head = input_rows(inputs, cell=cell, attention=asked.attention,
                      note=inputs.describe(Needs(cls_rows=(-1, ))))
    notes = ['apply_prob is 1 in this picture, and '
             f'{inputs.fraction:.0%} of the training done.']
    notes += [f'Not drawn: {text}' for text in misfits]
    return render_gallery(
        [*head, *rows], title=title, notes=notes,
        dropped=any(one.drops for _, _, one in generators))
