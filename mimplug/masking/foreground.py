"""Which cells of a saliency map belong to the object."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Rounding of a mean of equal numbers must not turn them into background.
SLACK = 1e-12


def scda_foreground(saliency: Tensor, *, num_stds: float = 0.6,
                    keep_largest: bool = False,
                    row_sort_compat: bool = False) -> Tensor:
    r"""Cells whose saliency is not far below the mean of their image.

    .. math:: F_{ij} \iff S_{ij} \ge \mu - n\,\sigma

    with the mean :math:`\mu` and the population standard deviation
    :math:`\sigma` of the image.

    Args:
        saliency (Tensor): (M, h, w) floats.
        num_stds (float): n; 0 is the rule of the SCDA paper. Defaults to the
            0.6 of the released saliency-guided masking.
        keep_largest (bool): Keep only the largest 8-connected component, as
            the SCDA paper does. Defaults to False.
        row_sort_compat (bool): As released: each row of the map is sorted
            before the test, which keeps the number of foreground cells of a
            row but moves them to its right end. Defaults to False.

    Returns:
        Tensor: (M, h, w) bool, True = foreground.

    Source: ``get_mask`` in ``Dataset/localize.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets, whose condition
    "above the mean, or at most 0.6 deviations from it" is this one.
    """
    values = saliency.double()
    if row_sort_compat:
        values = values.sort(-1).values
    flat = values.flatten(1)
    mean, std = flat.mean(1), flat.std(1, correction=0)
    slack = SLACK * flat.abs().amax(1)
    limit = mean - num_stds * std - slack
    foreground = values >= limit[:, None, None]
    return largest_component(foreground) if keep_largest else foreground


def largest_component(cells: Tensor) -> Tensor:
    """The largest group of cells that touch at sides or corners.

    Every cell takes the largest number among its neighbours until whole
    components carry one number. The number of rounds depends on the shape
    only, so nothing waits for the device. Of equally large components the
    one that ends last in raster order is kept.

    Args:
        cells (Tensor): (M, h, w) bool.

    Returns:
        Tensor: (M, h, w) bool; all False where nothing was True.
    """
    rows, height, width = cells.shape
    number = torch.arange(
        1, height * width + 1, device=cells.device, dtype=torch.float32)
    inside = cells.float()[:, None]
    label = number.view(1, 1, height, width) * inside
    # the longest way through touching cells has at most half of all cells
    # plus a row or column
    for _ in range((height * width + height + width) // 2):
        label = F.max_pool2d(label, 3, stride=1, padding=1) * inside
    place = label.long().flatten(1)
    size = torch.zeros(
        rows, height * width + 1, dtype=torch.long, device=cells.device)
    size.scatter_add_(1, place, cells.flatten(1).long())
    # ties: argmax alone may return either
    order = size * (height * width + 1) + torch.arange(
        height * width + 1, device=cells.device)
    best = order[:, 1:].argmax(1) + 1
    return (place == best[:, None]).view_as(cells) & cells


def fit_saliency(saliency: Tensor, grid: tuple[int, int]) -> Tensor:
    """Returns a saliency map on another grid.

    An axis that gets shorter is averaged, one that gets longer interpolated
    linearly; a map of the right size is returned as it is.

    Args:
        saliency (Tensor): (M, h, w) floats.
        grid (tuple[int, int]): (Hp, Wp).

    Returns:
        Tensor: (M, Hp, Wp), float32 or better.

    Raises:
        ValueError: If the map is not (M, h, w).
    """
    if saliency.ndim != 3 or not saliency.is_floating_point():
        raise ValueError(
            'a saliency map must be (M, h, w) floats, got '
            f'{tuple(saliency.shape)} of {saliency.dtype}')
    if saliency.dtype in (torch.float16, torch.bfloat16):
        saliency = saliency.float()
    if tuple(saliency.shape[1:]) == tuple(grid):
        return saliency
    smaller = (min(saliency.shape[1], grid[0]),
               min(saliency.shape[2], grid[1]))
    fitted = F.adaptive_avg_pool2d(saliency[:, None], smaller)
    if smaller != tuple(grid):
        fitted = F.interpolate(
            fitted, tuple(grid), mode='bilinear', align_corners=False)
    return fitted[:, 0]
