"""What is to be done to every view of a batch, drawn on the host."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..transforms.functional import CROP_ATTEMPTS, JITTER_OPS
from ..transforms.multi_crop import CropSpec
from .draws import Keys, ViewDraws

# One row a view. All float64, so that the table travels in one copy; every
# whole number in it is exact.
FIELDS = (
    'offset',  # of the image in the packed buffer, in pixels
    'stride',  # width of the image
    'left', 'top', 'width', 'height',  # of the crop
    'flip',
    # Jitter: up to three blends, the hue, up to three more. Hue is by far the
    # dearest operation and so happens once, wherever a row's order has it.
    *(f'blend{stage}' for stage in range(6)),  # 0 is none, else see BLENDS
    *(f'factor{stage}' for stage in range(6)),
    'hue',  # shift in 1/256 of the circle, -1 for none
    'gray',
    'radius',  # of the blur, 0 for none
    'threshold',  # of the solarisation, 256 for none
    'place',  # of the view in the output
)
ROW = np.dtype([(name, np.float64) for name in FIELDS])
# operations that move an image towards a reference, by code
BLENDS = {1: 'brightness', 2: 'contrast', 3: 'saturation'}
HUE = JITTER_OPS.index('hue')
NO_THRESHOLD = 256
Table = NDArray[np.void]


@dataclass(frozen=True)
class RawImage:
    """One decoded image that still has to be cut.

    Args:
        pixels (ndarray): (H, W, 3) uint8, RGB.
        key (int): 64-bit key of its draws.
        plan (CropPlan): What to draw.
    """
    pixels: NDArray[np.uint8]
    key: int
    plan: CropPlan


@dataclass(frozen=True)
class ViewGroup:
    """All views of one kind and size of a batch.

    Args:
        shape (tuple[int, int]): Height and width of the views in pixels.
        num_views (int): Views of one image, N.
        interpolation (str): Name of the resize filter.
        rows (ndarray): (N B,) of type ``ROW``, view-major, on the host.
    """
    shape: tuple[int, int]
    num_views: int
    interpolation: str
    rows: Table


class CropPlan:
    """Draws the views of a batch, equal to ``CropSpec.draw`` for each.

    Args:
        specs (Sequence[CropSpec]): Kinds of views, in the order of views.

    Example:
        >>> plan = CropPlan([CropSpec(num=2, size=32)])
        >>> keys = np.arange(3, dtype=np.uint64)
        >>> group, = plan.draw(keys, np.full((3, 2), 50))
        >>> group.rows['width'].shape
        (6,)
    """

    def __init__(self, specs: Sequence[CropSpec]) -> None:
        self.specs = tuple(specs)

    @property
    def num_globals(self) -> int:
        """Views of the first kind."""
        return self.specs[0].num

    def draw(self, keys: Keys, sizes: NDArray[np.int64]) -> list[ViewGroup]:
        """Draws everything random about a batch.

        Args:
            keys (ndarray): (B,) uint64, key of each image.
            sizes (ndarray): (B, 2) height and width of each image.

        Returns:
            list[ViewGroup]: One a kind; ``offset`` is not yet set.
        """
        groups, first = [], 0
        for spec in self.specs:
            draws = ViewDraws(keys, range(first, first + spec.num))
            height, width = np.tile(sizes, (spec.num, 1)).T
            rows = np.zeros(len(draws), ROW)
            rows['stride'] = width
            rows['place'] = np.arange(len(draws))
            _draw_boxes(rows, spec, draws, width, height)
            _draw_colours(rows, spec, draws, len(keys))
            groups.append(ViewGroup(
                shape=spec.shape, num_views=spec.num,
                interpolation=spec.interpolation, rows=rows))
            first += spec.num
        return groups


def _draw_boxes(rows: Table, spec: CropSpec, draws: ViewDraws,
                width: NDArray[np.int64], height: NDArray[np.int64]) -> None:
    """``draw_crop_box`` of all rows."""
    _central_boxes(rows, spec.ratio, width, height)
    low, high = (math.log(value) for value in spec.ratio)
    todo = np.arange(len(rows))
    for attempt in range(CROP_ATTEMPTS):
        whole = width[todo], height[todo]
        area = whole[0] * whole[1] * draws.uniform(
            'crop_area', *spec.scale, n=attempt, where=todo)
        aspect = np.exp(draws.uniform(
            'crop_ratio', low, high, n=attempt, where=todo))
        # both round half to even, like Python's
        w = np.rint(np.sqrt(area * aspect)).astype(np.int64)
        h = np.rint(np.sqrt(area / aspect)).astype(np.int64)
        fits = (w > 0) & (w <= whole[0]) & (h > 0) & (h <= whole[1])
        found, w, h = todo[fits], w[fits], h[fits]
        rows['width'][found], rows['height'][found] = w, h
        rows['top'][found] = draws.integers(
            'crop_top', height[found] - h, where=found)
        rows['left'][found] = draws.integers(
            'crop_left', width[found] - w, where=found)
        todo = todo[~fits]
        if not len(todo):
            break


def _central_boxes(rows: Table, ratio: Sequence[float],
                   width: NDArray[np.int64], height: NDArray[np.int64]
                   ) -> None:
    """The largest centred boxes with an allowed aspect ratio."""
    aspect = width / height
    w = np.where(aspect > max(ratio), np.rint(height * max(ratio)), width)
    h = np.where(aspect < min(ratio), np.rint(width / min(ratio)), height)
    rows['width'], rows['height'] = w, h
    rows['left'], rows['top'] = (width - w) // 2, (height - h) // 2


def _draw_colours(rows: Table, spec: CropSpec, draws: ViewDraws,
                  batch: int) -> None:
    """Flip, jitter, grey, blur and solarisation of all rows."""
    def happens(name: str) -> NDArray[np.bool_]:
        probs = [spec.prob(name, view) for view in range(spec.num)]
        return draws.bernoulli(name, np.repeat(probs, batch))

    rows['flip'] = happens('flip')
    rows['gray'] = happens('gray')
    rows['radius'] = np.where(
        happens('blur'), draws.uniform('blur_radius', *spec.blur_radius), 0)
    rows['threshold'] = np.where(
        happens('solarize'), spec.solarize_threshold, NO_THRESHOLD)
    rows['hue'] = -1
    jittered = np.flatnonzero(happens('jitter'))
    order = draws.permutation('jitter_order', len(JITTER_OPS))
    place = np.argsort(order, axis=1)
    for name in JITTER_OPS:
        _draw_jitter(rows, spec, draws, name, place, jittered)


def _draw_jitter(rows: Table, spec: CropSpec, draws: ViewDraws, name: str,
                 place: NDArray[np.int64], where: NDArray[np.int64]) -> None:
    """One operation of the jittered rows, given the place of each (M, 4)."""
    code = JITTER_OPS.index(name)
    strength = spec.jitter[code]
    if not strength:
        return
    if name == 'hue':
        shift = draws.uniform('jitter_hue', -strength, strength, where=where)
        # torchvision shifts Pillow's 8-bit hue by a truncated whole number
        rows['hue'][where] = np.trunc(shift * 255) % 256
        return
    factor = draws.uniform(f'jitter_{name}', max(0.0, 1 - strength),
                           1 + strength, where=where)
    mine, hue = place[where, code], place[where, HUE]
    stage = np.where(mine < hue, mine, mine - hue + 2)
    for number in range(6):
        found = where[stage == number]
        rows[f'blend{number}'][found] = code + 1
        rows[f'factor{number}'][found] = factor[stage == number]
