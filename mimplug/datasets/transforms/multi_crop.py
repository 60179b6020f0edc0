"""Multi-crop: several random views of one decoded image."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError, check_range, suggest
from mimplug.registry import TRANSFORMS

from .functional import (
    ViewParams,
    draw_crop_box,
    draw_jitter,
    parse_interpolation,
    render_view,
    to_chw,
)

PerView = float | Sequence[float]


@dataclass(frozen=True)
class CropSpec:
    """How the views of one kind (global or local) are drawn.

    Probabilities may differ between the views of a kind: give a sequence;
    views beyond its end use its last value.

    Args:
        num (int): Number of views. Defaults to 2.
        size (int | tuple[int, int]): Side, or height and width, in pixels.
            Defaults to 224.
        scale (tuple[float, float]): Area share of the crop. Defaults to
            (0.25, 1).
        ratio (tuple[float, float]): Width / height of the crop. Defaults to
            (3/4, 4/3).
        flip_prob (PerView): Of mirroring. Defaults to 0.5.
        jitter (tuple[float, ...]): Strength of brightness, contrast,
            saturation, hue. Defaults to (0.4, 0.4, 0.2, 0.1).
        jitter_prob (PerView): Of the jitter. Defaults to 0.8.
        gray_prob (PerView): Of dropping the colours. Defaults to 0.2.
        blur_prob (PerView): Of the Gaussian blur. Defaults to 0.5.
        blur_radius (tuple[float, float]): Range of its standard deviation in
            pixels. Defaults to (0.1, 2).
        solarize_prob (PerView): Of solarisation. Defaults to 0.
        solarize_threshold (int): Values from here on are inverted. Defaults
            to 128.
        interpolation (str): Name of torchvision's mode. Defaults to
            'bicubic'.
    """
    num: int = 2
    size: int | tuple[int, int] = 224
    scale: tuple[float, float] = (0.25, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip_prob: PerView = 0.5
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_prob: PerView = 0.8
    gray_prob: PerView = 0.2
    blur_prob: PerView = 0.5
    blur_radius: tuple[float, float] = (0.1, 2.0)
    solarize_prob: PerView = 0.0
    solarize_threshold: int = 128
    interpolation: str = 'bicubic'

    def __post_init__(self) -> None:
        check_range('num', self.num, 1, 1000)
        for side in self.shape:
            check_range('size', side, 1, 1 << 16)
        _check_pair('scale', self.scale, 0.0, 1.0)
        _check_pair('ratio', self.ratio, 1e-3, 1e3)
        _check_pair('blur_radius', self.blur_radius, 0.0, 1e3)
        check_range('solarize_threshold', self.solarize_threshold, 0, 256)
        if len(self.jitter) != 4:
            raise ConfigError(
                f'jitter={self.jitter!r}: four strengths are needed '
                '(brightness, contrast, saturation, hue)')
        for strength, limit in zip(self.jitter, (1e3, 1e3, 1e3, 0.5)):
            check_range('jitter', strength, 0.0, limit)
        for name in ('flip', 'jitter', 'gray', 'blur', 'solarize'):
            value = getattr(self, f'{name}_prob')
            values = value if isinstance(value, Sequence) else [value]
            if not values:
                raise ConfigError(f'{name}_prob={value!r} is empty')
            for entry in values:
                check_range(f'{name}_prob', entry, 0.0, 1.0)
        parse_interpolation(self.interpolation)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the views."""
        if isinstance(self.size, int):
            return self.size, self.size
        height, width = self.size
        return height, width

    def prob(self, name: str, view: int) -> float:
        """Probability of an operation for the ``view``-th view of its kind."""
        value: PerView = getattr(self, f'{name}_prob')
        if isinstance(value, Sequence):
            return value[min(view, len(value) - 1)]
        return value

    def draw(self, draws: KeyedRandom, width: int, height: int,
             view: int = 0) -> ViewParams:
        """Draws one view.

        Args:
            draws (KeyedRandom): Draws of this view.
            width (int): Width of the decoded image in pixels.
            height (int): Height of the decoded image in pixels.
            view (int): Place among the views of this kind. Defaults to 0.

        Returns:
            ViewParams: All that is random about it.
        """
        def happens(name: str) -> bool:
            return draws.bernoulli(name, self.prob(name, view))

        jitter = draw_jitter(draws, self.jitter) if happens('jitter') else ()
        blur = (draws.uniform('blur_radius', *self.blur_radius)
                if happens('blur') else 0.0)
        threshold = self.solarize_threshold if happens('solarize') else None
        return ViewParams(
            box=draw_crop_box(draws, width, height, self.scale, self.ratio),
            flip=happens('flip'), jitter=jitter, gray=happens('gray'),
            blur_radius=blur, solarize_threshold=threshold)


@TRANSFORMS.register_module()
class MultiCrop(BaseTransform):
    """Cuts global and local views out of one decoded image.

    Each view: random resized crop, flip, colour jitter, grey, blur,
    solarisation, in this order. Every draw is a function of the sample's key
    and the view's number. The views stay uint8; the data preprocessor
    normalises them on the device.

    Required keys: ``img`` (H, W, 3) uint8 RGB, ``draws``
    (:class:`mimplug.KeyedDataset` adds them). Added keys: ``views``, a list
    of V uint8 tensors (3, h, w), globals first; ``view_boxes`` (V, 4)
    float32, x0, y0, x1, y1 in pixels of ``img``; ``view_flips`` (V,) bool;
    ``num_globals``.

    Args:
        global_crops (dict): Arguments of :class:`CropSpec`. Defaults of this
            kind: ``size=224, scale=(0.25, 1), blur_prob=(1.0, 0.1),
            solarize_prob=(0.0, 0.2)``, the reference's.
        local_crops (dict, optional): The same for the local views. Defaults
            of this kind: ``num=10, size=96, scale=(0.05, 0.25)``. Defaults
            to None: no local views.

    Raises:
        ConfigError: A setting is unknown or out of range.

    Source: ``DataAugmentationiBOT`` of gkakogeorgiou/attmask.

    Example:
        >>> MultiCrop(global_crops=dict(size=32), local_crops=dict(num=2,
        ...           size=16)).num_views
        4
    """

    # tells KeyedDataset that the sampler must give keys
    uses_draws = True
    GLOBAL_DEFAULTS: Mapping[str, Any] = dict(
        blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2))
    LOCAL_DEFAULTS: Mapping[str, Any] = dict(
        num=10, size=96, scale=(0.05, 0.25))

    def __init__(self, global_crops: Mapping[str, Any],
                 local_crops: Mapping[str, Any] | None = None) -> None:
        self.global_crops = _build_spec(
            'global_crops', self.GLOBAL_DEFAULTS, global_crops)
        self.local_crops = None if local_crops is None else _build_spec(
            'local_crops', self.LOCAL_DEFAULTS, local_crops)

    @property
    def num_views(self) -> int:
        """Global and local views of one image."""
        return len(self._slots())

    def _slots(self) -> list[tuple[CropSpec, int]]:
        """(kind, place within its kind) of every view."""
        kinds = [self.global_crops]
        if self.local_crops is not None:
            kinds.append(self.local_crops)
        return [(kind, place) for kind in kinds for place in range(kind.num)]

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds the views of one sample.

        Args:
            results (dict): One sample with ``img`` and ``draws``.

        Returns:
            dict: The same dict without ``img``.
        """
        draws = self._draws(results)
        image = Image.fromarray(results.pop('img'))
        views, boxes, flips = [], [], []
        for number, (spec, place) in enumerate(self._slots()):
            params = spec.draw(
                draws.for_view(number), image.width, image.height, place)
            views.append(to_chw(render_view(
                image, params, spec.shape,
                parse_interpolation(spec.interpolation))))
            boxes.append(params.box)
            flips.append(params.flip)
        results['views'] = views
        results['view_boxes'] = np.array(boxes, dtype=np.float32)
        results['view_flips'] = np.array(flips, dtype=bool)
        results['num_globals'] = self.global_crops.num
        return results

    def _draws(self, results: dict[str, Any]) -> KeyedRandom:
        """The draws that the data set has put into a sample."""
        draws: KeyedRandom | None = results.get('draws')
        if draws is None:
            raise ConfigError(
                f'{type(self).__name__} needs keyed draws: put the pipeline '
                "into dict(type='mimplug.KeyedDataset', dataset=..., "
                'pipeline=[...])')
        return draws

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(global_crops={self.global_crops}, '
                f'local_crops={self.local_crops})')


def _build_spec(name: str, defaults: Mapping[str, Any],
                given: Mapping[str, Any]) -> CropSpec:
    """A :class:`CropSpec` whose errors name the argument they came from."""
    allowed = [field.name for field in fields(CropSpec)]
    for key in given:
        if key not in allowed:
            raise ConfigError(
                f'MultiCrop: {name} has no setting {key!r}; '
                f'{suggest(key, allowed)}')
    try:
        spec = CropSpec(**{**defaults, **given})
    except ConfigError as error:
        raise ConfigError(f'MultiCrop: {name}: {error}') from error
    for key, value in given.items():
        if key.endswith('_prob') and isinstance(value, Sequence) and (
                len(value) > spec.num):
            raise ConfigError(
                f'MultiCrop: {name}: {key}={value!r} has more entries than '
                f'there are views ({spec.num})')
    return spec


def _check_pair(name: str, pair: Sequence[float], low: float,
                high: float) -> None:
    """Two values in order and in range."""
    if len(pair) != 2 or pair[0] > pair[1]:
        raise ConfigError(f'{name}={pair!r}: give (smallest, largest)')
    for value in pair:
        check_range(name, value, low, high)
