"""The same place, out of focus."""
from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from mimplug.draws import Draws
from mimplug.errors import check_range
from mimplug.filters import check_kernel, gaussian_blur, scaled_kernel
from mimplug.masking.fills.base import Fill
from mimplug.masking.mask import Mask
from mimplug.registry import TASK_UTILS


class GaussianFill(Fill):
    """A fill that blurs; the filter may be given for another image size.

    Args:
        kernel_size (int): Odd number of pixels.
        sigma (float): In pixels.
        reference_size (int, optional): Side of the images that kernel and
            sigma are given for; on others they shrink or grow with the
            shorter side. By default they are taken as they are.

    Raises:
        ConfigError: If a number is out of range, or (in :meth:`check`) the
            image is too small for the kernel.
    """

    def __init__(self, kernel_size: int, sigma: float,
                 reference_size: int | None = None) -> None:
        check_kernel(kernel_size, sigma)
        if reference_size is not None:
            check_range('reference_size', reference_size, 1, float('inf'))
        self.kernel_size, self.sigma = kernel_size, float(sigma)
        self.reference_size = reference_size

    def kernel(self, size: tuple[int, int]) -> tuple[int, float]:
        """Returns kernel size and sigma for images of a size.

        Args:
            size (tuple[int, int]): (H, W) in pixels.
        """
        if self.reference_size is None:
            return self.kernel_size, self.sigma
        side = min(size)
        return (scaled_kernel(self.kernel_size, side, self.reference_size),
                self.sigma * side / self.reference_size)

    def check(self, size: tuple[int, int]) -> None:
        check_kernel(*self.kernel(size), size)


@TASK_UTILS.register_module()
class BlurFill(GaussianFill):
    """The image itself, strongly blurred.

    Args:
        kernel_size (int): Odd number of pixels. Defaults to the published
            31 for images of 224.
        sigma (float): In pixels. Defaults to the published 10.
        reference_size (int, optional): Side of the images that kernel and
            sigma are given for, 224 for the defaults; on others they shrink
            or grow with the shorter side. By default they are taken as they
            are.

    Raises:
        ConfigError: If a number is out of range, or (in :meth:`check`) the
            image is too small for the kernel.

    Source: ``moco/loader.py`` and ``Dataset/random_mask_blur.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """

    examples: ClassVar = (
        {'kernel_size': 5, 'sigma': 2.0}, {'reference_size': 224})

    def __init__(self, kernel_size: int = 31, sigma: float = 10.0, *,
                 reference_size: int | None = None) -> None:
        super().__init__(kernel_size, sigma, reference_size)

    def content(self, images: Tensor, mask: Mask, draws: Draws) -> Tensor:
        size = (images.shape[2], images.shape[3])
        return gaussian_blur(images, *self.kernel(size))
