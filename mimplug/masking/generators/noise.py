"""Masks cut out of filtered noise (ColorMAE)."""
from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from mimplug.draws import to_device
from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import ScoreMask
from mimplug.masking.generators.inverse import kept_counts
from mimplug.masking.ratios import RatioLike, Ratios
from mimplug.masking.select import BottomSelector, Counts
from mimplug.registry import TASK_UTILS

COLORS = ('red', 'blue', 'green', 'purple')


def radius_of(sigma: float) -> int:
    """Tokens on each side that a Gaussian filter looks at: 3 sigma."""
    return math.ceil(3 * sigma)


def blur_matrix(size: int, sigma: float) -> NDArray[np.float64]:
    """Returns (size, size + 2 radius): a Gaussian filter without padding.

    Args:
        size (int): Number of values that come out.
        sigma (float): Standard deviation > 0, in values.
    """
    radius = radius_of(sigma)
    place = np.arange(size + 2 * radius) - np.arange(size)[:, None] - radius
    weight = np.where(
        np.abs(place) <= radius, np.exp(-0.5 * (place / sigma)**2), 0.0)
    normed: NDArray[np.float64] = weight / weight.sum(1, keepdims=True)
    return normed


def blur(noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """Filters (M, h, w) to (M, h - 2 radius, w - 2 radius), float64."""
    margin = 2 * radius_of(sigma)
    down, right = (
        to_device(blur_matrix(side - margin, sigma), noise.device)
        for side in noise.shape[1:])
    return down @ noise @ right.T


def crop(noise: torch.Tensor, sigma: float) -> torch.Tensor:
    """The part of (M, h, w) whose places :func:`blur` returns."""
    edge = radius_of(sigma)
    return noise[:, edge:noise.shape[1] - edge, edge:noise.shape[2] - edge]


@TASK_UTILS.register_module()
class ColorNoiseMask(ScoreMask):
    r"""ColorMAE: noise of one colour, its largest values stay visible.

    With white noise W and a Gaussian filter G:

    ======  ============================================================
    red     :math:`G_1 * W` (low frequencies: large blobs)
    blue    :math:`W - G_1 * W` (high frequencies: even spread)
    green   :math:`G_1 * W - G_2 * G_1 * W` (a band: blobs of one size)
    purple  :math:`W - green`
    ======  ============================================================

    The :math:`\lfloor L (1 - r) \rfloor` largest values stay visible. Each
    row has noise of its own, filtered on the device in float64, so that all
    devices agree on the order; the field is larger than the grid, so borders
    are like the middle. Draws: 'apply', 'noise', 'ratio'.

    Args:
        color (str): One of the above. Defaults to 'green', the best one in
            the paper.
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to the
            published 0.75.
        sigma (float): Width of :math:`G_1` in tokens, > 0. Defaults to 1.
        sigma_wide (float): Width of :math:`G_2`, > sigma. Defaults to 2.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a name is unknown or a number out of range.

    Provenance: code for the selection, abstract for the filters; the widths
    are ours. Source: Hinojosa et al., ColorMAE, ECCV 2024
    (arXiv 2407.13036), which crops a bank of 3072 ready patterns instead.
    """

    provenance = 'code'
    examples: ClassVar = (
        *({'color': color, 'ratio': 0.75} for color in COLORS),
        {'ratio': (0.5, 0.2), 'sigma': 0.6, 'apply_prob': 0.5})

    def __init__(self, color: str = 'green', ratio: RatioLike = 0.75, *,
                 sigma: float = 1.0, sigma_wide: float = 2.0,
                 apply_prob: float = 1.0) -> None:
        check_choice('color', color, COLORS)
        check_range('sigma', sigma, 1e-3, 1e3)
        if not sigma < sigma_wide <= 1e3:
            raise ConfigError(
                f'sigma_wide={sigma_wide}: must be > sigma={sigma}')
        super().__init__(
            ratio, select=BottomSelector(), apply_prob=apply_prob)
        self.color, self.sigma, self.sigma_wide = color, sigma, sigma_wide

    def counts(self, ratios: Ratios, grid: tuple[int, int]) -> Counts:
        length = grid[0] * grid[1]
        return length - kept_counts(ratios, length)

    def scores(self, context: MaskContext) -> torch.Tensor:
        band = self.color in ('green', 'purple')
        edge = radius_of(self.sigma)
        edge += radius_of(self.sigma_wide) if band else 0
        height, width = context.grid
        white = context.draws.uniform(
            'noise', height + 2 * edge, width + 2 * edge,
            device=context.device).double()
        low = blur(white, self.sigma)
        white = crop(white, self.sigma)
        if band:
            low = (crop(low, self.sigma_wide)
                   - blur(low, self.sigma_wide))
            white = crop(white, self.sigma_wide)
        kept = low if self.color in ('red', 'green') else white - low
        return kept.flatten(1)
