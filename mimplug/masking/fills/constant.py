"""One value for all hidden places."""
from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from mimplug.draws import Draws
from mimplug.errors import check_range
from mimplug.masking.fills.base import Fill
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class ConstantFill(Fill):
    """A constant.

    Args:
        value (float): In normalised pixels; 0 is the mean colour of the data
            set. Defaults to 0.

    Raises:
        ConfigError: If the value is not finite.
    """

    examples: ClassVar = ({}, {'value': -1.5})

    def __init__(self, value: float = 0.0) -> None:
        check_range('value', value, -1e6, 1e6)
        self.value = float(value)

    def content(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        return torch.full((1, 1, 1, 1), self.value, device=images.device)


@TASK_UTILS.register_module()
class MeanFill(Fill):
    """The mean colour of the image: one value an image and channel.

    Source: ``Dataset/random_mask_mean.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """

    def content(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        # half precision is summed in float32 anyway
        return images.mean((2, 3), keepdim=True)
