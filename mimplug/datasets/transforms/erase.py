"""Random erasing: where; the preprocessor fills it on the device."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError, check_range

from .functional import CROP_ATTEMPTS, Box

NOTHING: Box = (0, 0, 0, 0)


@dataclass(frozen=True)
class EraseSpec:
    """One rectangle of a view that becomes noise.

    Args:
        prob (float): Probability. Defaults to 0.25.
        area (tuple[float, float]): Smallest and largest share of the view.
            Defaults to (0.02, 1/3).
        ratio (tuple[float, float]): Height / width, drawn log-uniformly.
            Defaults to (0.3, 1/0.3).

    Source: ``RandomErasing`` of timm, with the settings of sail-sg/mugs
    ``src/multicropdataset.py``.
    """
    prob: float = 0.25
    area: tuple[float, float] = (0.02, 1 / 3)
    ratio: tuple[float, float] = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        check_range('prob', self.prob, 0.0, 1.0)
        for name, low, high in (('area', 0.0, 1.0), ('ratio', 1e-3, 1e3)):
            pair: Sequence[float] = getattr(self, name)
            if len(pair) != 2 or pair[0] > pair[1]:
                raise ConfigError(f'{name}={pair!r}: give (smallest, largest)')
            for value in pair:
                check_range(name, value, low, high)

    def draw(self, draws: KeyedRandom, width: int, height: int) -> Box:
        """Draws the rectangle of one view.

        The first of ten that is smaller than the view is placed uniformly;
        if none is, nothing is erased.

        Args:
            draws (KeyedRandom): Draws of this view.
            width (int): Width of the view in pixels.
            height (int): Height of the view in pixels.

        Returns:
            tuple[int, int, int, int]: x0, y0, x1, y1 in pixels of the view,
            the end excluded; four zeros for none.
        """
        if not draws.bernoulli('erase', self.prob):
            return NOTHING
        low, high = (math.log(value) for value in self.ratio)
        for n in range(CROP_ATTEMPTS):
            area = width * height * draws.uniform(
                'erase_area', *self.area, n=n)
            aspect = math.exp(draws.uniform('erase_ratio', low, high, n=n))
            h = round(math.sqrt(area * aspect))
            w = round(math.sqrt(area / aspect))
            if w < width and h < height:
                top = draws.integers('erase_top', 0, height - h)
                left = draws.integers('erase_left', 0, width - w)
                return left, top, left + w, top + h
        return NOTHING
