"""Gaussian filters of images, with mirrored borders.

A separable filter is a matrix for each axis, with the border written into it:
matrix products filter all images, on a CPU several times faster than
convolutions with one small kernel a channel.
"""
from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from mimplug.errors import ConfigError, check_range

# Pixels of a piece on a CPU.
BAND = 32


def gaussian_kernel(kernel_size: int, sigma: float) -> Tensor:
    r"""Returns the weights of a Gaussian filter along one axis.

    .. math:: w_d \propto \exp(-d^2 / 2 \sigma^2), \quad \sum_d w_d = 1

    for d = -(k - 1)/2, …, (k - 1)/2.

    Args:
        kernel_size (int): k >= 1 pixels, odd.
        sigma (float): :math:`\sigma` > 0 in pixels.

    Returns:
        Tensor: (k,) float64.

    Raises:
        ConfigError: If the size is even, or a number is out of range.

    Source: ``HighPassFilter`` in ``moco/loader.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets, which takes torchvision's.
    """
    check_kernel(kernel_size, sigma)
    reach = kernel_size // 2
    place = torch.arange(-reach, reach + 1, dtype=torch.float64)
    weights = torch.exp(-0.5 * (place / sigma)**2)
    return weights / weights.sum()


def check_kernel(kernel_size: int, sigma: float,
                 size: tuple[int, int] | None = None) -> None:
    """Raises unless a Gaussian filter can work.

    Args:
        kernel_size (int): In pixels.
        sigma (float): In pixels.
        size (tuple[int, int], optional): (H, W) of the images.

    Raises:
        ConfigError: If the kernel is even, a number is out of range, or the
            mirrored border of (k - 1)/2 pixels is not smaller than a side.
    """
    if (not isinstance(kernel_size, int) or kernel_size < 1
            or kernel_size % 2 == 0):
        raise ConfigError(
            f'kernel_size={kernel_size!r}: allowed is 1, 3, 5, …')
    check_range('sigma', sigma, 1e-6, float('inf'))
    if size is not None and kernel_size // 2 >= min(size):
        raise ConfigError(
            f'kernel_size={kernel_size}: an image of {size[0]} x {size[1]} '
            f'pixels cannot be mirrored by {kernel_size // 2}; allowed is '
            f'{2 * min(size) - 1} or less (scaled_kernel finds the size that '
            'a kernel made for larger images has)')


def scaled_kernel(reference: int, size: int, reference_size: int = 224
                  ) -> int:
    """Returns the kernel that covers the same share of another image.

    Args:
        reference (int): Kernel size on the reference image.
        size (int): Side of the image in pixels.
        reference_size (int): Side of the reference image. Defaults to 224.

    Returns:
        int: The odd number nearest to reference size / reference_size, at
        least 3.

    Example:
        >>> scaled_kernel(31, 32), scaled_kernel(11, 32)
        (5, 3)
    """
    exact = reference * size / reference_size
    return max(3, 2 * round((exact - 1) / 2) + 1)


@lru_cache(maxsize=64)
def _matrix(size: int, kernel_size: int, sigma: float, dtype: torch.dtype,
            device: torch.device) -> Tensor:
    """(size, size) matrix of the filter along an axis; border mirrored."""
    # else a later training step could not use a matrix of an evaluation
    with torch.inference_mode(False), torch.no_grad():
        reach = kernel_size // 2
        weights = gaussian_kernel(kernel_size, sigma)
        place = torch.arange(size)[:, None] + torch.arange(-reach, reach + 1)
        place = place.abs()
        place = torch.where(place >= size, 2 * (size - 1) - place, place)
        matrix = torch.zeros(size, size, dtype=torch.float64)
        matrix.scatter_add_(1, place, weights.expand(size, -1))
        return matrix.to(dtype).to(device)


def _bands(size: int, kernel_size: int, device: torch.device
           ) -> list[tuple[int, int, int, int]]:
    """Cuts an axis into pieces: start, end, and first and last input + 1.

    Away from its diagonal the matrix is zero. On a CPU the products skip what
    lies there; elsewhere one product is faster than many small ones.
    """
    step = BAND if device.type == 'cpu' else size
    reach = kernel_size // 2
    return [(start, min(size, start + step), max(0, start - reach),
             min(size, start + step + reach))
            for start in range(0, size, step)]


def _filter(images: Tensor, kernel_size: int, sigma: float, residual: bool
            ) -> Tensor:
    """The blurred images, or what the blur takes away."""
    height, width = images.shape[-2:]
    check_kernel(kernel_size, sigma, (height, width))
    wide = images.dtype == torch.float64
    values = images.to(torch.float64 if wide else torch.float32)
    down, right = (
        _matrix(size, kernel_size, float(sigma), values.dtype, values.device)
        for size in (height, width))
    columns = _bands(width, kernel_size, values.device)
    strips = []
    with torch.autocast(images.device.type, enabled=False):
        for top, bottom, low, high in _bands(
                height, kernel_size, values.device):
            # small enough to stay in the cache until it is done
            rows = down[top:bottom, low:high] @ values[..., low:high, :]
            strip = torch.cat([
                rows[..., first:last] @ right[start:end, first:last].T
                for start, end, first, last in columns], -1)
            if residual:
                strip.neg_().add_(values[..., top:bottom, :])
            strips.append(strip)
        return torch.cat(strips, -2).to(images.dtype)


def gaussian_blur(images: Tensor, kernel_size: int, sigma: float) -> Tensor:
    r"""Blurs images; the border is mirrored, its pixels not repeated.

    .. math:: y = T_H\, x\, T_W^\top

    with the Toeplitz matrices T of :func:`gaussian_kernel`. Half precision
    is computed in float32, whatever autocast says.

    Args:
        images (Tensor): (M, C, H, W) floats.
        kernel_size (int): Odd number of pixels with (k - 1)/2 < min(H, W).
        sigma (float): > 0, in pixels.

    Returns:
        Tensor: As ``images``.

    Raises:
        ConfigError: If the kernel does not fit; see :func:`check_kernel`.

    Source: the transforms of ``moco/loader.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets (kernel 31, sigma 10).
    """
    return _filter(images, kernel_size, sigma, residual=False)


def high_pass(images: Tensor, kernel_size: int = 11, sigma: float = 5.0
              ) -> Tensor:
    """Takes the blurred image away from an image.

    .. math:: y = x - blur(x)

    Args:
        images (Tensor): (M, C, H, W) floats, normalised.
        kernel_size (int): Odd number of pixels. Defaults to the published
            11 (on images of 224 pixels).
        sigma (float): > 0, in pixels. Defaults to the published 5.

    Returns:
        Tensor: As ``images``.

    Raises:
        ConfigError: If the kernel does not fit; see :func:`check_kernel`.

    Source: ``HighPassFilter`` in ``moco/loader.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """
    return _filter(images, kernel_size, sigma, residual=True)
