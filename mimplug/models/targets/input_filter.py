"""What images go through before every encoder, in training and later."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_range
from mimplug.filters import check_kernel, high_pass
from mimplug.registry import MODELS


@MODELS.register_module()
class HighPass(nn.Module):
    r"""Takes the low frequencies out of normalised images.

    .. math:: y = x - g_\sigma * x

    A mask cuts strong edges into such an image no longer. An encoder that was
    trained on it needs the same filter wherever it is evaluated, so settings
    of this module go into every checkpoint (:mod:`mimplug.models.run_record`).

    Args:
        kernel_size (int): Side of the Gaussian g in pixels, odd, >= 3.
            Defaults to the published 11, for images of 224 pixels; see
            :func:`mimplug.filters.scaled_kernel` for others.
        sigma (float): Its width in pixels, > 0. Defaults to the published 5.

    Raises:
        ConfigError: A number is out of range.

    Source: Chin et al., Masking Improves Contrastive Self-Supervised Learning
    for ConvNets, WACV 2024; strategy ``hp`` in
    joycenerd/Saliency-Guided-Masking-for-ConvNets.

    Example:
        >>> import torch
        >>> HighPass()(torch.ones(1, 3, 16, 16)).abs().max() < 1e-5
        tensor(True)
    """

    def __init__(self, kernel_size: int = 11, sigma: float = 5.0) -> None:
        super().__init__()
        check_kernel(kernel_size, sigma)
        # one pixel: nothing would be left of an image
        check_range('kernel_size', kernel_size, 3, float('inf'))
        self.kernel_size = int(kernel_size)
        self.sigma = float(sigma)

    def forward(self, images: Tensor) -> Tensor:
        """Filters.

        Args:
            images (Tensor): (B, C, H, W), both sides larger than half the
                kernel.

        Returns:
            Tensor: (B, C, H, W) of the same type.
        """
        return high_pass(images, self.kernel_size, self.sigma)

    @property
    def record(self) -> dict[str, Any]:
        """Its settings, with which a config builds it again."""
        return dict(type='mimplug.HighPass', kernel_size=self.kernel_size,
                    sigma=self.sigma)

    def extra_repr(self) -> str:
        """The settings."""
        return f'kernel_size={self.kernel_size}, sigma={self.sigma:g}'


def build_input_filter(config: Mapping[str, Any] | nn.Module | None) -> Any:
    """An input filter from its settings, or None.

    Args:
        config (dict | nn.Module, optional): ``dict(type='mimplug.HighPass')``
            or another module that keeps shapes and has a ``record``.

    Returns:
        nn.Module | None: The filter.

    Raises:
        ConfigError: It does not say how it was built.
    """
    if config is None:
        return None
    if isinstance(config, Mapping):
        config = BUILD.build(dict(config))
    if not isinstance(getattr(config, 'record', None), Mapping):
        raise ConfigError(
            f'input_filter: {type(config).__name__} has no record of its '
            "settings; allowed is dict(type='mimplug.HighPass', "
            'kernel_size=11, sigma=5.0)')
    return config
