"""Colour operations on batches of whole grey levels, as Pillow does them.

Images are (M, h, 3, w) float32 with values 0, 1, …, 255. Every operation
ends in whole levels again, rounded the way Pillow's 8-bit code rounds, so
that results equal the CPU pipeline's and do not depend on the device.
"""
from __future__ import annotations

import torch
from torch import Tensor

# Pillow's weights of red, green and blue in 1/65536; the sum stays below
# 2**24 and is exact in float32.
LUMA = (19595, 38470, 7471)


def gray_levels(images: Tensor) -> Tensor:
    """Luminance, rounded.

    Args:
        images (Tensor): (M, h, 3, w).

    Returns:
        Tensor: (M, h, 1, w).

    Source: ``rgb2l`` of Pillow's ``Convert.c``.
    """
    red, green, blue = images.split(1, dim=2)
    total: Tensor = red * LUMA[0]
    total = total.add_(green * LUMA[1]).add_(blue * LUMA[2])
    return total.add_(1 << 15).mul_(2.0**-16).floor_()


def blend(images: Tensor, code: Tensor, factor: Tensor) -> Tensor:
    r"""Moves images towards or away from a reference.

    .. math:: y = \lfloor clip(r + f (x - r)) \rfloor

    The reference r is black for brightness, the mean luminance of the image
    for contrast, the luminance of the pixel for saturation.

    Args:
        images (Tensor): (M, h, 3, w).
        code (Tensor): (M,) key of :data:`mimplug.datasets.device.plan.BLENDS`
            of each image.
        factor (Tensor): (M,), 1 leaves an image as it is.

    Returns:
        Tensor: (M, h, 3, w).

    Source: ``ImageEnhance.py`` and ``Blend.c`` of Pillow.
    """
    code, factor = (each.view(-1, 1, 1, 1) for each in (code, factor))
    gray = gray_levels(images)
    # exact, hence the same for any order of summation
    mean = gray.mean((1, 2, 3), dtype=torch.float64, keepdim=True)
    mean = (mean + 0.5).floor_().float()
    reference = gray.mul_(code == 3).add_(mean.mul_(code == 2))
    moved = (images - reference).mul_(factor)
    return moved.add_(reference).clamp_(0, 255).floor_()


def hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turns the colour circle.

    Through 8-bit hue and saturation, which costs up to a few levels even for
    a shift of 0, as in Pillow.

    Args:
        images (Tensor): (M, h, 3, w).
        shift (Tensor): (M,) whole numbers, 256 is a full turn.

    Returns:
        Tensor: (M, h, 3, w).

    Source: ``rgb2hsv`` and ``hsv2rgb`` of Pillow's ``Convert.c``.
    """
    value = images.amax(2, keepdim=True)
    spread = value - images.amin(2, keepdim=True)
    angle = _hue_levels(images, value, spread)
    angle = torch.remainder(angle + shift.view(-1, 1, 1, 1), 256)
    share = (spread / value.clamp(min=1)).mul_(255).floor_().div_(255)
    sector = angle.mul_(6).div_(255)
    # red, green and blue are the same function of the sector, 2 apart: it
    # falls from 1 over one sector, is 0 for two, rises over one, is 1 for two
    turn = 4 * torch.arange(3, device=images.device).view(3, 1)
    place = torch.remainder(sector + turn, 6)
    fall = ((place - 1).clamp_(0, 1) - (place - 4).clamp_(0, 1))
    return (1 - share * fall).mul_(value).add_(0.5).floor_()


def _hue_levels(images: Tensor, value: Tensor, spread: Tensor) -> Tensor:
    """Hue in 0, …, 255, truncated where Pillow truncates: (M, h, 1, w)."""
    red, green, _ = images.split(1, dim=2)
    parts = (value - images).div_(spread.clamp(min=1))
    # as doubles, or whole numbers of levels would be missed
    r, g, b = parts.double().split(1, dim=2)
    angle = torch.where(
        red == value, b - g, torch.where(green == value, 2 + r - b, 4 + g - r))
    angle = (angle.float().double() / 6).add_(1).fmod_(1).float()
    return angle.double().mul_(255).floor_().float()


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Inverts values from ``threshold`` (M,) on."""
    limit = threshold.view(-1, 1, 1, 1)
    return torch.where(images < limit, images, 255 - images)
