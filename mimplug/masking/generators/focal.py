"""A square of the image: all around it is hidden, or all inside."""
from __future__ import annotations

from typing import ClassVar

import torch

from mimplug.draws import to_device
from mimplug.errors import check_choice, check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import MaskGenerator
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS

HIDE = ('outside', 'inside')


@TASK_UTILS.register_module()
class FocalMask(MaskGenerator):
    r"""Hides everything outside of a random square, or inside.

    The square has :math:`a = round(s \min(H, W))` cells a side and lies
    anywhere in the image with equal probability. It is made for the grid of
    all pixels. The mask has ``boxes``: x0, y0, x1, y1 of the squares, in
    cells of its grid. Draws: 'focal/top', 'focal/left'.

    Args:
        side (float): s in (0, 1]. Defaults to the published 200 / 224 of the
            query; the hard negative has 130 / 224.
        hide (str): 'outside', as published for the query, or 'inside', for
            the hard negative. Defaults to 'outside'.

    Raises:
        ConfigError: If a setting is out of range.

    Provenance: code. Source: ``Dataset/random_mask_hp.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets, after Jing et al., Masked
    Siamese ConvNets (arXiv 2206.07700).
    """

    provenance = 'code'
    pixels = True
    exact_count = True
    examples: ClassVar = (
        {'side': 0.6}, {'side': 0.58, 'hide': 'inside'})

    def __init__(self, side: float = 200 / 224, hide: str = 'outside'
                 ) -> None:
        check_range('side', side, 1e-6, 1.0)
        check_choice('hide', hide, HIDE)
        self.side, self.hide = float(side), hide

    def square(self, grid: tuple[int, int]) -> int:
        """Returns a, the side of the square in cells.

        Args:
            grid (tuple[int, int]): (H, W).
        """
        return max(1, round(self.side * min(grid)))

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        inside = self.square(grid)**2
        hidden = (inside if self.hide == 'inside'
                  else grid[0] * grid[1] - inside)
        return hidden, hidden

    def __call__(self, context: MaskContext) -> Mask:
        side, device = self.square(context.grid), torch.device(context.device)
        corner, within = [], []
        for name, length in zip(('top', 'left'), context.grid):
            start = to_device(context.draws.row_integers(
                f'focal/{name}', 0, length - side), device)
            place = torch.arange(length, device=device) - start[:, None]
            corner.append(start)
            within.append((place >= 0) & (place < side))
        inside = within[0][:, None, :, None] & within[1][:, None, None, :]
        top, left = corner
        boxes = torch.stack((left, top, left + side, top + side), 1)
        return Mask(inside if self.hide == 'inside' else ~inside,
                    boxes=boxes.float(),
                    capacity=context.rows * self.limits(context.grid)[1])
