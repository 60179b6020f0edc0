r"""Gaussian blur of many images, each with a radius of its own.

Pillow approximates a Gaussian by three box filters with fractional ends, each
of which repeats the edge of what it gets. As matrices along one axis,

.. math:: y = B^3 x

The cube is taken of a matrix just large enough to hold both edges and one row
between them, and spread out to the size of the image. Pillow rounds after
every single box and this does not: results differ by a level or two.
"""
from __future__ import annotations

import math

import torch
from torch import Tensor

from .resample import WEIGHT_ONE, round_levels

PASSES = 3


def box_reach(radius: float) -> int:
    """Pixels on each side that one box filter of a blur touches.

    Args:
        radius (float): Largest standard deviation in pixels.

    Returns:
        int: At least 1.
    """
    return int((math.sqrt(12 * radius**2 / PASSES + 1) - 1) / 2) + 1


def box_matrices(radius: Tensor, size: int, reach: int) -> Tensor:
    """One of the three box filters as a matrix, for each radius.

    Args:
        radius (Tensor): (M,) float64 standard deviations of the blur in
            pixels, >= 0.
        size (int): Length n of the axis in pixels.
        reach (int): :func:`box_reach` of the largest.

    Returns:
        Tensor: (M, n, n) float64, rows sum to 1.

    Source: ``_gaussian_blur_radius`` of Pillow's ``BoxBlur.c``.
    """
    variance = radius.view(-1, 1, 1)**2 / PASSES
    whole = (((12 * variance + 1).sqrt() - 1) / 2).floor()
    ends = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance) / (
        6 * (variance - (whole + 1)**2))
    source = torch.arange(-reach, size + reach, device=radius.device)
    distance = (source - source[reach:reach + size, None]).abs()
    box = (distance <= whole).double() + ends * (distance == whole + 1)
    box = box / (2 * (whole + ends) + 1)
    # what would lie outside is the edge once more
    box[..., reach] += box[..., :reach].sum(-1)
    box[..., reach + size - 1] += box[..., reach + size:].sum(-1)
    return box[..., reach:reach + size]


def blur_matrices(radius: Tensor, size: int, reach: int) -> Tensor:
    """The whole blur as a matrix, for each radius.

    Args:
        radius (Tensor): (M,) standard deviations in pixels, >= 0.
        size (int): Length n of the axis in pixels.
        reach (int): :func:`box_reach` of the largest.

    Returns:
        Tensor: (M, n, n) float32, whole numbers; a row sums to about
        ``WEIGHT_ONE``.
    """
    edge = PASSES * reach
    core = min(size, 2 * edge + 1)
    box = box_matrices(radius.double(), core, reach)
    cube = torch.bmm(torch.bmm(box, box), box)
    # one column of zeros stands for all places beyond the core
    weights = torch.nn.functional.pad(
        (cube * WEIGHT_ONE).round().float(), (0, 1))
    output = torch.arange(size, device=radius.device)[:, None]
    row = torch.where(output < edge, output,
                      (output - (size - core)).clamp(min=edge))
    column = row + output.T - output
    column = torch.where((column >= 0) & (column < core), column, core)
    return weights[:, row, column]


def blur(images: Tensor, radius: Tensor, *, reach: int) -> Tensor:
    """Blurs each image by its own radius.

    Args:
        images (Tensor): (M, h, 3, w) whole grey levels.
        radius (Tensor): (M,) standard deviation in pixels of the view.
        reach (int): :func:`box_reach` of the largest.

    Returns:
        Tensor: (M, h, 3, w) whole grey levels.

    Source: ``ImagingGaussianBlur`` of Pillow.
    """
    count, height, channels, width = images.shape
    across = blur_matrices(radius, width, reach)
    down = across if height == width else blur_matrices(
        radius, height, reach)
    rows = torch.bmm(images.flatten(1, 2), across.transpose(1, 2))
    rows = round_levels(rows).view(count, height, channels * width)
    columns = torch.bmm(down, rows)
    return round_levels(columns).view(images.shape)
