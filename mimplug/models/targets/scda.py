"""Objects from the activations of a convolutional network (SCDA)."""
from __future__ import annotations

import torch
from torch import Tensor

from mimplug.masking.foreground import largest_component, scda_foreground

__all__ = ['largest_component', 'scda_foreground', 'scda_map']


def scda_map(features: Tensor) -> Tensor:
    r"""Sum of the activations of all channels.

    .. math:: S_{ij} = \sum_c x_{cij}

    Args:
        features (Tensor): (M, C, h, w), usually the last feature map after
            its ReLU.

    Returns:
        Tensor: (M, h, w), float32 or better.

    Source: Wei et al., Selective Convolutional Descriptor Aggregation,
    TIP 2017; ``Dataset/localize.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()
    return features.sum(1)
