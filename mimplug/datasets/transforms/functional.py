"""One view of an image: drawing its parameters, and applying them.

Drawing (keyed, no pixels) and applying (pixels, no randomness) are separate,
so that a test can put the same parameters into torchvision and compare bit by
bit, and a picture can be drawn again from its key alone.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf

from mimplug.draws import KeyedRandom
from mimplug.errors import check_choice

Box = tuple[int, int, int, int]

CROP_ATTEMPTS = 10
JITTER_OPS = ('brightness', 'contrast', 'saturation', 'hue')
_ADJUST = dict(
    brightness=tvf.adjust_brightness, contrast=tvf.adjust_contrast,
    saturation=tvf.adjust_saturation, hue=tvf.adjust_hue)


@dataclass(frozen=True)
class ViewParams:
    """Everything random about one view.

    Args:
        box (tuple[int, ...]): Crop x0, y0, x1, y1 in pixels of the decoded
            image, the end excluded.
        flip (bool): Whether the crop is mirrored left-right.
        jitter (tuple): Pairs (operation, factor) in the order of use; empty
            for no colour jitter.
        gray (bool): Whether colours are removed.
        blur_radius (float): Standard deviation of the blur in pixels of the
            view; 0 for none.
        solarize_threshold (int, optional): Values from here on are inverted;
            None for no solarisation.
    """
    box: Box
    flip: bool = False
    jitter: tuple[tuple[str, float], ...] = ()
    gray: bool = False
    blur_radius: float = 0.0
    solarize_threshold: int | None = None


def draw_crop_box(draws: KeyedRandom, width: int, height: int,
                  scale: Sequence[float], ratio: Sequence[float]) -> Box:
    """Draws the box of a random resized crop.

    Up to ten times an area share from U(scale) and an aspect ratio that is
    log-uniform in ``ratio``; the first box that fits is placed uniformly.
    If none fits: the largest centred box with an allowed aspect ratio.

    Args:
        draws (KeyedRandom): Draws of this view.
        width (int): Width of the image in pixels.
        height (int): Height of the image in pixels.
        scale (Sequence[float]): Smallest and largest share of the area.
        ratio (Sequence[float]): Smallest and largest width / height.

    Returns:
        tuple[int, int, int, int]: x0, y0, x1, y1; the end is excluded.

    Source: ``RandomResizedCrop.get_params`` of torchvision.
    """
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for attempt in range(CROP_ATTEMPTS):
        area = width * height * draws.uniform(
            'crop_area', scale[0], scale[1], n=attempt)
        aspect = math.exp(draws.uniform('crop_ratio', low, high, n=attempt))
        w = round(math.sqrt(area * aspect))
        h = round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            top = draws.integers('crop_top', 0, height - h)
            left = draws.integers('crop_left', 0, width - w)
            return left, top, left + w, top + h
    return _central_box(width, height, ratio)


def _central_box(width: int, height: int, ratio: Sequence[float]) -> Box:
    """The largest centred box whose aspect ratio lies in ``ratio``."""
    w, h = width, height
    if width / height < min(ratio):
        h = round(w / min(ratio))
    elif width / height > max(ratio):
        w = round(h * max(ratio))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def draw_jitter(draws: KeyedRandom, strengths: Sequence[float]
                ) -> tuple[tuple[str, float], ...]:
    """Draws the four colour factors and the order in which they are used.

    Args:
        draws (KeyedRandom): Draws of this view.
        strengths (Sequence[float]): Brightness, contrast, saturation b, each
            giving a factor from U(max(0, 1 - b), 1 + b), and hue h <= 0.5
            giving a shift from U(-h, h). 0 leaves an operation out.

    Returns:
        tuple: Pairs (operation, factor).

    Source: ``ColorJitter.get_params`` of torchvision.
    """
    pairs = []
    for index in draws.permutation('jitter_order', len(JITTER_OPS)):
        name, strength = JITTER_OPS[index], strengths[index]
        if not strength:
            continue
        if name == 'hue':
            low, high = -strength, strength
        else:
            low, high = max(0.0, 1 - strength), 1 + strength
        pairs.append((name, draws.uniform(f'jitter_{name}', low, high)))
    return tuple(pairs)


def render_view(image: Image.Image, params: ViewParams,
                size: tuple[int, int],
                interpolation: InterpolationMode = InterpolationMode.BICUBIC
                ) -> Image.Image:
    """Applies crop, flip, jitter, grey, blur, solarisation in this order.

    Args:
        image (Image.Image): The decoded image, mode RGB. Not changed.
        params (ViewParams): What to do.
        size (tuple[int, int]): Height and width of the view in pixels.
        interpolation (InterpolationMode): For the resize. Defaults to
            bicubic.

    Returns:
        Image.Image: The view, mode RGB.

    Source: ``DataAugmentationiBOT`` of gkakogeorgiou/attmask.
    """
    x0, y0, x1, y1 = params.box
    view: Image.Image = tvf.resized_crop(
        image, y0, x0, y1 - y0, x1 - x0, list(size), interpolation)
    if params.flip:
        view = tvf.hflip(view)
    for name, factor in params.jitter:
        view = _ADJUST[name](view, factor)
    if params.gray:
        # torchvision's result, without its way through arrays
        view = view.convert('L').convert('RGB')
    if params.blur_radius:
        view = view.filter(ImageFilter.GaussianBlur(params.blur_radius))
    if params.solarize_threshold is not None:
        view = ImageOps.solarize(view, params.solarize_threshold)
    return view


def to_chw(image: Image.Image | np.ndarray) -> torch.Tensor:
    """A writable uint8 tensor (C, H, W) of an image or an (H, W, C) array."""
    planes = np.asarray(image).transpose(2, 0, 1)
    # copied by NumPy: torch would start threads for it
    return torch.from_numpy(np.array(planes, order='C'))


def parse_interpolation(name: str) -> InterpolationMode:
    """The interpolation of torchvision with this name."""
    modes = {mode.value: mode for mode in InterpolationMode}
    check_choice('interpolation', name, modes)
    return modes[name]
