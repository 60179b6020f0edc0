"""Gaussian noise, alone or in the high-pass domain."""
from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mimplug.draws import Draws
from mimplug.errors import check_choice, check_range
from mimplug.filters import high_pass
from mimplug.masking.fills.base import Fill
from mimplug.masking.fills.blur import GaussianFill
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS

PATCHES = ('shared', 'fresh')


@TASK_UTILS.register_module()
class NoiseFill(Fill):
    r"""Zero-mean Gaussian noise.

    'shared', as released: one patch of the size of a cell is drawn for each
    kind of mask (:attr:`Mask.kind`) and repeated in every hidden cell of
    every image of the batch. Rows with a box (:class:`FocalMask`) have fresh
    noise outside of it, and inside one patch that all boxes of the batch
    share. 'fresh': every pixel of every image has its own number. Draws:
    'noise/patch', 'noise/box' (of the batch), 'noise/fresh'.

    Args:
        std (float): Standard deviation >= 0 in normalised pixels. Defaults
            to the published 0.18 of the query; the hard negative has 0.14.
        patch (str): 'shared' or 'fresh'. Defaults to 'shared'.

    Raises:
        ConfigError: If a setting is out of range.

    Source: ``Dataset/random_mask_hp.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """

    examples: ClassVar = ({}, {'std': 0.14, 'patch': 'fresh'})

    def __init__(self, std: float = 0.18, patch: str = 'shared') -> None:
        check_range('std', std, 0.0, 1e6)
        check_choice('patch', patch, PATCHES)
        self.std, self.patch = float(std), patch

    def content(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        if self.patch == 'fresh':
            noise = self._fresh(images, draws)
        elif mask.boxes is None:
            noise = self._tiled(images, mask, draws)
        else:
            noise = self._focal(images, mask, draws)
        return self.std * noise

    @staticmethod
    def _fresh(images: Tensor, draws: Draws) -> Tensor:
        """(M, 3, H, W) numbers, all different."""
        return draws.normal(
            'noise/fresh', *images.shape[1:], device=images.device)

    @staticmethod
    def _tiled(images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        """(M or 1, 3, H, W), the patch of the row's kind in every cell."""
        channels, height, width = images.shape[1:]
        down, right = mask.cells or mask.grid
        patches = draws.batch_normal(
            'noise/patch', mask.num_kinds, channels, height // down,
            width // right, device=images.device)
        if mask.kind is None:
            return patches[:1].repeat(1, 1, down, right)
        return patches[mask.kind].repeat(1, 1, down, right)

    def _focal(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        """(M, 3, H, W); rows whose box is empty have patches in cells."""
        _, channels, height, width = images.shape
        boxes = mask.boxes
        assert boxes is not None
        scale = (width / mask.grid[1], height / mask.grid[0]) * 2
        left, top, right, bottom = (
            (boxes[:, side] * scale[side]).round().long()[:, None]
            for side in range(4))
        y = torch.arange(height, device=images.device)
        x = torch.arange(width, device=images.device)
        inside = (((y >= top) & (y < bottom))[:, None, :, None]
                  & ((x >= left) & (x < right))[:, None, None, :])
        shared = draws.batch_normal(
            'noise/box', channels, height, width, device=images.device)
        patch = shared.permute(1, 2, 0)[
            ((y - top) % height)[:, :, None], ((x - left) % width)[:, None]]
        noise = torch.where(
            inside, patch.permute(0, 3, 1, 2), self._fresh(images, draws))
        if mask.cells is None:
            return noise
        focal = (right > left)[:, :, None, None]
        return torch.where(focal, noise, self._tiled(images, mask, draws))


@TASK_UTILS.register_module()
class HighPassFill(GaussianFill):
    r"""The high-passed image, with noise in its hidden places.

    .. math:: y = m\, n + (1 - m)\,(x - blur(x))

    The only fill that also changes what is not hidden. It is meant for views
    that do not pass an input filter; behind one
    (:class:`mimplug.HighPass`), :class:`NoiseFill` is the same fill.

    Args:
        kernel_size (int): Odd number of pixels. Defaults to the published
            11 for images of 224.
        sigma (float): In pixels. Defaults to the published 5.
        std (float): See :class:`NoiseFill`. Defaults to 0.18.
        patch (str): See :class:`NoiseFill`. Defaults to 'shared'.
        reference_size (int, optional): As in :class:`BlurFill`.

    Raises:
        ConfigError: If a setting is out of range, or (in :meth:`check`) the
            image is too small for the kernel.

    Source: ``moco/loader.py`` and ``Dataset/random_mask_hp.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """

    examples: ClassVar = (
        {'kernel_size': 5, 'sigma': 2.0}, {'reference_size': 224})

    def __init__(self, kernel_size: int = 11, sigma: float = 5.0, *,
                 std: float = 0.18, patch: str = 'shared',
                 reference_size: int | None = None) -> None:
        super().__init__(kernel_size, sigma, reference_size)
        self.noise = NoiseFill(std, patch)

    def content(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        return self.noise.content(images, mask, draws)

    def __call__(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        size = (images.shape[2], images.shape[3])
        return super().__call__(
            high_pass(images, *self.kernel(size)), mask, draws)
