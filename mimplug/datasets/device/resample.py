r"""Crop, resize and flip of many boxes as two batched matrix products.

Pillow's resize is separable: first along rows, rounded to 8 bits, then along
columns. With W_x (w, W) and W_y (h, H) the weights of one box,

.. math:: y = round(W_y\, round(x\, W_x^T))

Each box has matrices of its own, so boxes of all sizes go through one
product. Weights are multiples of :math:`2^{-15}` and pixels whole numbers
below 256, so every partial sum is exact in float32: the result depends
neither on the order of summation, nor on the neighbours in the batch, nor on
the device (unless TF32 products are switched on, which moves a value by at
most one level). Pillow 13 takes columns first where that is less work; about
a quarter of the pixels of such a box then differ by one level.
"""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mimplug.errors import check_choice

WEIGHT_ONE = 1 << 15
CHANNELS = 3


def _triangle(x: Tensor) -> Tensor:
    """Linear interpolation."""
    return (1 - x.abs()).clamp(min=0)


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic with a = -1/2."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _lanczos(x: Tensor) -> Tensor:
    """Sinc under a sinc window of three lobes."""
    return torch.where(
        x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), 0.0)


class Filter(NamedTuple):
    """A resize filter and its radius in pixels of the coarser image."""
    radius: float
    value: Callable[[Tensor], Tensor]


# names of torchvision's InterpolationMode
FILTERS = dict(bilinear=Filter(1.0, _triangle), bicubic=Filter(2.0, _cubic),
               lanczos=Filter(3.0, _lanczos))


def check_interpolation(name: str) -> None:
    """Raises ConfigError unless the device knows the filter ``name``."""
    check_choice('interpolation', name, FILTERS)


def count_taps(longest: float, size: int, name: str) -> int:
    """Most source pixels that one output pixel can look at.

    Args:
        longest (float): Largest source length in pixels.
        size (int): Output length in pixels.
        name (str): Key of ``FILTERS``.

    Returns:
        int: An odd number.
    """
    scale = max(longest / size, 1.0)
    return 2 * math.ceil(FILTERS[name].radius * scale) + 1


def resize_weights(lengths: Tensor, size: int, columns: int, taps: int,
                   name: str, flip: Tensor | None = None) -> Tensor:
    """Weight matrices that resize boxes of given lengths.

    Args:
        lengths (Tensor): (M,) float64, source length of each box in pixels.
        size (int): Output length.
        columns (int): Columns of the matrices, at least the largest length.
        taps (int): From :func:`count_taps` of the largest length.
        name (str): Key of ``FILTERS``.
        flip (Tensor, optional): (M,) in {0, 1}, whether the output runs
            backwards. Defaults to none.

    Returns:
        Tensor: (M, size, columns) float32, whole numbers; a row sums to
        about ``WEIGHT_ONE``.

    Source: ``precompute_coeffs`` of Pillow's ``Resample.c``.
    """
    kernel = FILTERS[name]
    place = torch.arange(size, device=lengths.device, dtype=lengths.dtype)
    place = place.expand(len(lengths), size)
    if flip is not None:
        place = torch.where(flip[:, None] > 0, size - 1 - place, place)
    scale = (lengths / size)[:, None]
    stretch = scale.clamp(min=1)
    centre = (place + 0.5) * scale
    reach = kernel.radius * stretch
    first = (centre - reach + 0.5).floor().clamp(min=0)
    end = torch.minimum((centre + reach + 0.5).floor(), lengths[:, None])
    source = first[..., None] + torch.arange(
        taps, device=lengths.device, dtype=lengths.dtype)
    weight = kernel.value(
        (source - centre[..., None] + 0.5) / stretch[..., None])
    weight = torch.where(source < end[..., None], weight, 0.0)
    weight = weight / weight.sum(-1, keepdim=True)
    weight = (weight * WEIGHT_ONE).round().float()
    # room behind the last column: weights there are zero
    matrix = weight.new_zeros(len(lengths), size, columns + taps)
    matrix.scatter_(2, source.long(), weight)
    return matrix[..., :columns]


def round_levels(sums: Tensor) -> Tensor:
    """Sums of weights times pixels as whole grey levels, in place."""
    return sums.mul_(1 / WEIGHT_ONE).add_(0.5).floor_().clamp_(0, 255)


def gather_boxes(pixels: Tensor, columns: dict[str, Tensor], height: int,
                 width: int) -> Tensor:
    """Cuts boxes out of the packed buffer.

    Args:
        pixels (Tensor): (P, 3) uint8.
        columns (dict): Fields of the rows, (M,) float64 each.
        height (int): Height of the largest box, the common one.
        width (int): Width of the largest box.

    Returns:
        Tensor: (M, height, 3, width) uint8; smaller boxes repeat their last
        row and column.
    """
    def inside(count: int, name: str) -> Tensor:
        """0, 1, …, then the last pixel of each box: (M, count)."""
        steps = torch.arange(count, device=pixels.device, dtype=torch.float64)
        return torch.minimum(steps, columns[name][:, None] - 1)

    # smaller indices are read faster
    kind = torch.int32 if pixels.numel() < 1 << 31 else torch.int64
    y = inside(height, 'height') + columns['top'][:, None]
    x = inside(width, 'width') + columns['left'][:, None]
    y = y * columns['stride'][:, None] + columns['offset'][:, None]
    y = (CHANNELS * y).to(kind)[:, :, None, None]
    x = (CHANNELS * x).to(kind)[:, None, None, :]
    channel = torch.arange(CHANNELS, device=pixels.device, dtype=kind)
    index = y + (channel[:, None] + x)
    return pixels.view(-1).index_select(0, index.view(-1)).view(index.shape)


def crop_and_resize(pixels: Tensor, columns: dict[str, Tensor],
                    largest: tuple[int, int], shape: tuple[int, int],
                    name: str) -> Tensor:
    """Cuts, resizes and mirrors boxes.

    Args:
        pixels (Tensor): (P, 3) uint8, packed images.
        columns (dict): Fields of the rows, (M,) float64 each.
        largest (tuple[int, int]): Height and width that no box exceeds.
        shape (tuple[int, int]): Height and width of the result.
        name (str): Key of ``FILTERS``.

    Returns:
        Tensor: (M, h, 3, w) float32, whole grey levels.
    """
    height, width = largest
    h, w = shape
    boxes = gather_boxes(pixels, columns, height, width).float()
    across = resize_weights(
        columns['width'], w, width, count_taps(width, w, name), name,
        columns['flip'])
    rows = torch.bmm(boxes.flatten(1, 2), across.transpose(1, 2))
    rows = round_levels(rows).view(-1, height, CHANNELS * w)
    down = resize_weights(
        columns['height'], h, height, count_taps(height, h, name), name)
    return round_levels(torch.bmm(down, rows)).view(-1, h, CHANNELS, w)
