"""What pictures must know of a model: its network, its normalisation."""
from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from mimplug.errors import ConfigError


def backbone_of(model: nn.Module) -> Any:
    """The network that masks look at: frozen, teacher's, or the model's own.

    Args:
        model (nn.Module): An algorithm.

    Raises:
        ConfigError: It is no masked ViT.
    """
    places: tuple[Any, ...] = (
        getattr(getattr(model, 'mask_source', None), 'network', None),
        getattr(getattr(model, 'teacher', None), 'backbone', None),
        getattr(model, 'backbone', None), model)
    backbone = next(one for one in places if one is not None)
    if not hasattr(backbone, 'encode'):
        raise ConfigError(
            f'{type(model).__name__}: masks are drawn with the attention of '
            f'a mimplug.MaskedViT; its backbone is {type(backbone).__name__}')
    return backbone


def normalised(images: Tensor, preprocessor: Any) -> Tensor:
    """Images as the network was trained on them.

    Args:
        images (Tensor): (M, C, H, W) in [0, 1].
        preprocessor (nn.Module): The data preprocessor, with ``mean`` and
            ``std`` on the 0..255 scale; without them nothing happens.

    Returns:
        Tensor: (M, C, H, W).
    """
    mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
    if mean is None or std is None:
        return images
    shifted: Tensor = images * 255 - mean.view(-1, 1, 1)
    shifted = shifted / std.view(-1, 1, 1)
    return shifted


def unit_range(images: Tensor, preprocessor: nn.Module | Any) -> np.ndarray:
    """Undoes the normalisation of images.

    Args:
        images (Tensor): (M, C, H, W), normalised.
        preprocessor (nn.Module): The data preprocessor, with ``mean`` and
            ``std`` on the 0..255 scale; without them each image is stretched
            to its own range.

    Returns:
        ndarray: (M, C, H, W) float32 in [0, 1].
    """
    images = images.detach().float()
    mean = getattr(preprocessor, 'mean', None)
    std = getattr(preprocessor, 'std', None)
    if mean is None or std is None:
        low = images.amin((1, 2, 3), keepdim=True)
        high = images.amax((1, 2, 3), keepdim=True)
        scaled = (images - low) / (high - low).clamp(min=1e-6)
    else:
        shape = (1, -1, 1, 1)
        scaled = (images * std.view(shape) + mean.view(shape)) / 255
    clipped: np.ndarray = scaled.clamp(0, 1).cpu().numpy()
    return clipped
