"""Fills erased rectangles with noise, on the device and without waiting."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mimplug.draws import to_device
from mimplug.draws.bits import fold_tensor, unit_tensor
from mimplug.errors import ConfigError

LEVELS = 255.0


def keyed_normals(seeds: Tensor, count: int) -> Tensor:
    """Standard normal numbers that are functions of a seed and a place.

    Args:
        seeds (Tensor): int64 (n,).
        count (int): Numbers of each seed.

    Returns:
        Tensor: (n, count) float32; to rounding the same on all devices.
    """
    places = torch.arange(count, device=seeds.device)
    radius, angle = (
        unit_tensor(fold_tensor(
            fold_tensor(seeds, seeds.new_full((), word)).unsqueeze(1),
            places)) for word in (0, 1))
    return torch.log1p(-radius).mul_(-2).sqrt_() * torch.cos(math.tau * angle)


@torch.no_grad()
def erase_(views: Sequence[Tensor], data_samples: Sequence[Any],
           mean: Tensor, std: Tensor) -> None:
    r"""Replaces rectangles of normalised views by noise, in place.

    .. math:: y = (255\, \epsilon - mean) / std, \quad \epsilon \sim N(0, 1)

    so the noise is standard normal on the [0, 1] scale *before* the
    normalisation, as in the published runs of Mugs, and is then wider than
    the image: with ImageNet's statistics about N(-2, 4.4).

    Which rows are touched is known on the host: nothing is read back.

    Args:
        views (Sequence[Tensor]): V views (B, C, h_v, w_v), floating point.
        data_samples (Sequence[DataSample]): B samples with ``erase_boxes``
            (V, 4) and ``erase_seeds`` (V,).
        mean (Tensor): (1, C, 1, 1).
        std (Tensor): (1, C, 1, 1).

    Raises:
        ConfigError: Samples and views do not fit.
    """
    boxes = np.stack([sample.erase_boxes for sample in data_samples], 1)
    seeds = np.stack([sample.erase_seeds for sample in data_samples], 1)
    if len(boxes) != len(views):
        raise ConfigError(
            f'erase_boxes of {len(boxes)} views for {len(views)} views')
    for view, box, seed in zip(views, boxes, seeds):
        rows = np.flatnonzero(box[:, 2] > box[:, 0])
        if not len(rows):
            continue
        where = to_device(rows, view.device)
        inside = _inside(to_device(box[rows], view.device), view.shape[2:])
        noise = keyed_normals(
            to_device(seed[rows], view.device), view[0].numel())
        noise = noise.view(-1, *view.shape[1:]).mul_(LEVELS)
        noise = noise.to(view).sub_(mean).div_(std)
        view.index_copy_(0, where, torch.where(inside, noise, view[where]))


def _inside(boxes: Tensor, size: Sequence[int]) -> Tensor:
    """Bool (n, 1, h, w): pixels of each box (n, 4)."""
    x0, y0, x1, y1 = boxes.view(-1, 4, 1, 1).unbind(1)
    y = torch.arange(size[0], device=boxes.device).view(1, -1, 1)
    x = torch.arange(size[1], device=boxes.device)
    return ((y0 <= y) & (y < y1) & (x0 <= x) & (x < x1)).unsqueeze(1)
