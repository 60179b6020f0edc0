"""One composite: what is drawn, pasted and left to be seen."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError

from .sources import SOLID, Source, read_background, read_cutout

FLIP = Image.Transpose.FLIP_LEFT_RIGHT
LANCZOS = Image.Resampling.LANCZOS


@dataclass(frozen=True)
class SceneRecipe:
    """What a composite looks like.

    Args:
        size (tuple[int, int]): Range of height and of width in pixels, drawn
            independently. Defaults to (256, 320).
        num_objects (tuple[int, int]): Range of the number of cut-outs that
            are pasted. Defaults to (1, 4).
        object_size (tuple[int, int]): Range of the longer side of a cut-out
            in pixels; never more than the shorter side of the image.
            Defaults to (48, 160).
        min_visible (int): Objects of which fewer pixels are left to be seen
            are no instances. Defaults to 16.

    Raises:
        ConfigError: A range is empty or out of bounds.
    """
    size: tuple[int, int] = (256, 320)
    num_objects: tuple[int, int] = (1, 4)
    object_size: tuple[int, int] = (48, 160)
    min_visible: int = 16

    def __post_init__(self) -> None:
        for name, least in (('size', 8), ('num_objects', 0),
                            ('object_size', 2)):
            low, high = getattr(self, name)
            if not least <= low <= high:
                raise ConfigError(
                    f'{name}=({low}, {high}): allowed is {least} <= first '
                    '<= second')
        if self.min_visible < 1:
            raise ConfigError(
                f'min_visible={self.min_visible}: allowed is >= 1')


@dataclass(frozen=True, eq=False)
class Scene:
    """An image and what stands on it; later objects hide earlier ones.

    Args:
        image (ndarray): (H, W, 3) uint8, RGB.
        masks (ndarray): (N, H, W) bool, visible pixels of each object.
        sources (tuple[Source, ...]): N cut-outs.
        background (Source): The photograph.
    """
    image: np.ndarray
    masks: np.ndarray
    sources: tuple[Source, ...]
    background: Source

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32, x0, y0, x1, y1 around the visible pixels."""
        boxes = np.zeros((len(self.masks), 4), dtype=np.float32)
        for box, mask in zip(boxes, self.masks):
            rows, columns = (np.flatnonzero(mask.any(axis))
                             for axis in (1, 0))
            box[:] = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        return boxes


def compose(cutouts: Sequence[Source], backgrounds: Sequence[Source],
            recipe: SceneRecipe, draws: KeyedRandom) -> Scene:
    """Pastes cut-outs on a part of a photograph.

    Draws: 'height', 'width', 'background', 'zoom', 'top', 'left', 'number';
    for object n: 'object', 'side', 'flip', 'y', 'x'.

    Args:
        cutouts (Sequence[Source]): Images with alpha to choose from.
        backgrounds (Sequence[Source]): Photographs to choose from.
        recipe (SceneRecipe): Sizes and numbers.
        draws (KeyedRandom): Draws of this sample.

    Returns:
        Scene: The composite.

    Raises:
        UnreadableImageError: A file is damaged.
    """
    height, width = (draws.integers(name, *recipe.size)
                     for name in ('height', 'width'))
    background = backgrounds[draws.choice('background', len(backgrounds))]
    image = _crop(read_background(background.path, 2 * recipe.size[1]),
                  (height, width), draws)
    masks = np.zeros((0, height, width), dtype=bool)
    chosen: list[Source] = []
    for n in range(draws.integers('number', *recipe.num_objects)):
        source = cutouts[draws.choice('object', len(cutouts), n=n)]
        image, solid = _paste(image, source, recipe, draws, n)
        masks = np.concatenate([masks & ~solid, solid[None]])
        chosen.append(source)
    seen = masks.sum((1, 2)) >= recipe.min_visible
    return Scene(
        np.asarray(image), masks[seen],
        tuple(source for source, keep in zip(chosen, seen) if keep),
        background)


def _crop(photo: Image.Image, size: tuple[int, int], draws: KeyedRandom
          ) -> Image.Image:
    """A random part, from pixel by pixel to as much as fits.

    A photograph that is smaller than the wanted size is enlarged.
    """
    height, width = size
    most = min(photo.height / height, photo.width / width)
    # each doubling of the part is equally likely
    zoom = min(most, math.exp(
        draws.uniform('zoom') * math.log(max(most, 1.0))))
    tall, wide = height * zoom, width * zoom
    top = draws.uniform('top') * (photo.height - tall)
    left = draws.uniform('left') * (photo.width - wide)
    return photo.resize((width, height), LANCZOS,
                        box=(left, top, left + wide, top + tall))


def _paste(image: Image.Image, source: Source, recipe: SceneRecipe,
           draws: KeyedRandom, n: int) -> tuple[Image.Image, np.ndarray]:
    """The image with one more object, and the object's own pixels."""
    cutout = read_cutout(source.path, 2 * recipe.object_size[1])
    longest = min(draws.integers('side', *recipe.object_size, n=n),
                  *image.size)
    factor = longest / max(cutout.size)
    width, height = (max(1, round(side * factor)) for side in cutout.size)
    cutout = cutout.resize((width, height), LANCZOS)
    if draws.bernoulli('flip', 0.5, n=n):
        cutout = cutout.transpose(FLIP)
    x = draws.integers('x', 0, image.width - width, n=n)
    y = draws.integers('y', 0, image.height - height, n=n)
    alpha = cutout.getchannel('A')
    image = image.copy()
    image.paste(cutout.convert('RGB'), (x, y), alpha)
    solid = np.zeros((image.height, image.width), dtype=bool)
    solid[y:y + height, x:x + width] = np.asarray(alpha) > SOLID
    return image, solid
