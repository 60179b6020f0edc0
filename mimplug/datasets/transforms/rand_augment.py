"""RandAugment on keyed draws: two operations of fifteen, on a whole image.

timm has the same operations, but they take their signs, magnitudes and
filters from Python's global generator, and importing them loads all of timm
into every worker. So the operations stand here; drawing and applying are
separate, as for the other parts of a view.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from PIL import Image, ImageEnhance, ImageOps

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError, check_range

RGB = tuple[int, int, int]

MAX_MAGNITUDE = 10.0
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
LUT_BORDER = 128  # brighter values are left alone by SolarizeAdd


@dataclass(frozen=True)
class ImageOp:
    """One drawn operation.

    Args:
        name (str): One of :data:`OPS`.
        argument (float, optional): Its strength; None if it has none.
        resample (Image.Resampling): Filter of geometric operations.
    """
    name: str
    argument: float | None = None
    resample: Image.Resampling = Image.Resampling.BICUBIC


def op_argument(name: str, magnitude: float, *,
                negative: bool = False) -> float | None:
    """Strength of an operation, of the 'increasing' kind.

    Args:
        name (str): One of :data:`OPS`.
        magnitude (float): In [0, 10]; 0 changes (almost) nothing.
        negative (bool): The other direction, where there is one.
            Defaults to False.

    Returns:
        float | None: Degrees, bits, a threshold, what to add, a factor or a
        share of the image; None for operations without strength.
    """
    level = magnitude / MAX_MAGNITUDE
    sign = -1 if negative else 1
    if name == 'PosterizeIncreasing':
        return 4 - int(level * 4)
    if name == 'SolarizeIncreasing':
        return 256 - min(256, int(level * 256))
    if name == 'SolarizeAdd':
        return min(128, int(level * 110))
    if name in ENHANCERS:
        return 1.0 + sign * level * 0.9
    if name in RANGES:
        return sign * level * RANGES[name]
    return None


def _affine(image: Image.Image, matrix: tuple[float, ...], fill: RGB,
            resample: Image.Resampling) -> Image.Image:
    """Keeps the size; (a, b, c, d, e, f) as Pillow wants them."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix,
                           resample=resample, fillcolor=fill)


def _rotate(image: Image.Image, degrees: float, fill: RGB,
            resample: Image.Resampling) -> Image.Image:
    return image.rotate(degrees, resample=resample, fillcolor=fill)


def _shear_x(image: Image.Image, factor: float, fill: RGB,
             resample: Image.Resampling) -> Image.Image:
    return _affine(image, (1, factor, 0, 0, 1, 0), fill, resample)


def _shear_y(image: Image.Image, factor: float, fill: RGB,
             resample: Image.Resampling) -> Image.Image:
    return _affine(image, (1, 0, 0, factor, 1, 0), fill, resample)


def _translate_x(image: Image.Image, share: float, fill: RGB,
                 resample: Image.Resampling) -> Image.Image:
    return _affine(image, (1, 0, share * image.width, 0, 1, 0), fill, resample)


def _translate_y(image: Image.Image, share: float, fill: RGB,
                 resample: Image.Resampling) -> Image.Image:
    return _affine(image, (1, 0, 0, 0, 1, share * image.height), fill,
                   resample)


def _posterize(image: Image.Image, bits: float) -> Image.Image:
    """At least one bit: with none, as released, the image is black."""
    return ImageOps.posterize(image, max(1, int(bits)))


def _solarize(image: Image.Image, threshold: float) -> Image.Image:
    return ImageOps.solarize(image, int(threshold))


def _solarize_add(image: Image.Image, add: float) -> Image.Image:
    table = [min(255, value + int(add)) if value < LUT_BORDER else value
             for value in range(256)]
    return image.point(table * len(image.getbands()))


def _enhance(kind: Callable, image: Image.Image, factor: float
             ) -> Image.Image:
    enhanced: Image.Image = kind(image).enhance(factor)
    return enhanced


PLAIN: dict[str, Callable[..., Image.Image]] = dict(
    AutoContrast=ImageOps.autocontrast, Equalize=ImageOps.equalize,
    Invert=ImageOps.invert)
GEOMETRIC: dict[str, Callable[..., Image.Image]] = dict(
    Rotate=_rotate, ShearX=_shear_x, ShearY=_shear_y,
    TranslateXRel=_translate_x, TranslateYRel=_translate_y)
# largest strength, in degrees and in shares of the image
RANGES = dict(Rotate=30.0, ShearX=0.3, ShearY=0.3, TranslateXRel=0.45,
              TranslateYRel=0.45)
ENHANCERS: dict[str, Callable[..., Image.Image]] = dict(
    ColorIncreasing=partial(_enhance, ImageEnhance.Color),
    ContrastIncreasing=partial(_enhance, ImageEnhance.Contrast),
    BrightnessIncreasing=partial(_enhance, ImageEnhance.Brightness),
    SharpnessIncreasing=partial(_enhance, ImageEnhance.Sharpness))
TONES: dict[str, Callable[..., Image.Image]] = dict(
    PosterizeIncreasing=_posterize, SolarizeIncreasing=_solarize,
    SolarizeAdd=_solarize_add, **ENHANCERS)
OPS = ('AutoContrast', 'Equalize', 'Invert', 'Rotate', 'PosterizeIncreasing',
       'SolarizeIncreasing', 'SolarizeAdd', *ENHANCERS, 'ShearX', 'ShearY',
       'TranslateXRel', 'TranslateYRel')


def apply_op(image: Image.Image, op: ImageOp, fill: RGB) -> Image.Image:
    """Applies one drawn operation.

    Args:
        image (Image.Image): Mode RGB. Not changed.
        op (ImageOp): What to do.
        fill (tuple[int, int, int]): Colour of what comes from outside.

    Returns:
        Image.Image: Of the same size.
    """
    if op.name in PLAIN:
        return PLAIN[op.name](image)
    if op.name in TONES:
        return TONES[op.name](image, op.argument)
    return GEOMETRIC[op.name](image, op.argument, fill, op.resample)


@dataclass(frozen=True)
class RandAugmentSpec:
    """Some different operations, each of which happens or does not.

    Args:
        num_ops (int): Operations chosen, without replacement, in [0, 15].
            Defaults to 2.
        prob (float): Probability of each one. Defaults to 0.5.
        magnitude (float): Mean strength in [0, 10]. Defaults to 9.
        magnitude_std (float): Standard deviation of the strength, which then
            is cut to [0, 10]. Defaults to 0.5.
        fill (tuple[int, int, int]): Colour of what rotation, shear and
            translation bring in. Defaults to (124, 116, 104), ImageNet's
            mean.

    Source: ``rand-m9-mstd0.5-inc1`` of timm and ``src/RandAugment.py`` of
    sail-sg/mugs.
    """
    num_ops: int = 2
    prob: float = 0.5
    magnitude: float = 9.0
    magnitude_std: float = 0.5
    fill: RGB = (124, 116, 104)

    def __post_init__(self) -> None:
        check_range('num_ops', self.num_ops, 0, len(OPS))
        check_range('prob', self.prob, 0.0, 1.0)
        check_range('magnitude', self.magnitude, 0.0, MAX_MAGNITUDE)
        check_range('magnitude_std', self.magnitude_std, 0.0, 1e3)
        if len(self.fill) != 3:
            raise ConfigError(f'fill={self.fill!r}: give red, green, blue')

    def draw(self, draws: KeyedRandom) -> tuple[ImageOp, ...]:
        """Draws the operations of one view.

        Args:
            draws (KeyedRandom): Draws of this view.

        Returns:
            tuple[ImageOp, ...]: In the order of use.
        """
        chosen = draws.permutation('op', len(OPS))[:self.num_ops]
        ops = []
        for n, index in enumerate(chosen):
            if not draws.bernoulli('op_happens', self.prob, n=n):
                continue
            magnitude = self.magnitude + self.magnitude_std * _normal(draws, n)
            magnitude = min(max(magnitude, 0.0), MAX_MAGNITUDE)
            ops.append(ImageOp(
                OPS[index],
                op_argument(OPS[index], magnitude,
                            negative=draws.bernoulli('op_sign', 0.5, n=n)),
                FILTERS[draws.choice('op_filter', len(FILTERS), n=n)]))
        return tuple(ops)

    def apply(self, image: Image.Image, ops: tuple[ImageOp, ...]
              ) -> Image.Image:
        """Applies drawn operations one after the other."""
        for op in ops:
            image = apply_op(image, op, self.fill)
        return image


def _normal(draws: KeyedRandom, n: int) -> float:
    """A standard normal number, by Box and Muller."""
    radius = math.sqrt(-2 * math.log1p(-draws.uniform('op_radius', n=n)))
    return radius * math.cos(math.tau * draws.uniform('op_angle', n=n))
