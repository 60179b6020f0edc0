"""Saliency from the spectrum of an image, without any network."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_range
from mimplug.registry import MODELS

from .base import SaliencyTarget

# An image whose grey values differ by less has no structure.
FLAT = 1e-6


def spectral_residual(images: Tensor, *, size: int = 64, average: int = 3,
                      sigma: float = 2.5, taper: float = 0.0) -> Tensor:
    r"""What is unexpected in the log spectrum of an image.

    With the Fourier transform :math:`\mathcal F` of the grey image, its
    amplitude A and phase P, and the mean filter h,

    .. math:: S = g_\sigma * \left| \mathcal F^{-1} \exp\left(
        \log A - h * \log A + i P\right) \right|^2

    stretched to [0, 1] in each image.

    Args:
        images (Tensor): (M, C, H, W) floats of any scale and offset; the
            mean of the channels is the grey image.
        size (int): Longer side of the small image on which all of this
            happens, >= 8: it decides how large an object is. Smaller images
            keep their size. Defaults to the published 64.
        average (int): Side of h in frequencies, odd. Defaults to the
            published 3.
        sigma (float): Width of the Gaussian g in pixels of the small image.
            Defaults to the published 2.5.
        taper (float): Share of each side, in [0, 0.5], over which the image
            fades to its mean. As published, nothing fades, and the jump from
            one border to the opposite one, which are neighbours to a Fourier
            transform, is often the most salient place of all; 0.25 cures
            that. Defaults to 0.

    Returns:
        Tensor: (M, h, w) float32 in [0, 1] with max(h, w) <= ``size``; zeros
        for an image without structure.

    Raises:
        ConfigError: A number is out of range.

    Source: Hou and Zhang, Saliency Detection: A Spectral Residual Approach,
    CVPR 2007; scale, filter and width as in the authors' published lines.
    """
    _check(size, average, sigma, taper)
    # no Fourier transform in half precision
    with torch.autocast(images.device.type, enabled=False):
        grey = _shrink(images.float().mean(1, keepdim=True), size)
        low, high = grey.aminmax(dim=-1, keepdim=True)
        low, high = low.amin(2, keepdim=True), high.amax(2, keepdim=True)
        # scale and offset have no meaning, but rounding depends on them
        grey = (grey - low) / (high - low).clamp(min=FLAT)
        if taper:
            grey = _fade(grey, taper)
        saliency = _smooth(_residual(grey, average), sigma)
        stretched: Tensor = _stretch(saliency) * (high - low > FLAT)
        return stretched[:, 0]


@MODELS.register_module()
class SpectralResidual(SaliencyTarget):
    """:func:`spectral_residual` as a saliency target: no weights, no labels.

    Args:
        size (int): Longer side of the small image. Defaults to 64.
        average (int): Side of the mean filter, odd. Defaults to 3.
        sigma (float): Width of the Gaussian in pixels. Defaults to 2.5.
        taper (float): Share of each side that fades to the mean. Defaults to
            0.25: views are cut out of images, and their opposite borders
            have nothing in common.

    Raises:
        ConfigError: A number is out of range.
    """

    def __init__(self, size: int = 64, average: int = 3, sigma: float = 2.5,
                 taper: float = 0.25) -> None:
        super().__init__(supervised=False)
        _check(size, average, sigma, taper)
        self.settings: dict[str, Any] = dict(
            size=size, average=average, sigma=sigma, taper=taper)

    @torch.no_grad()
    def forward(self, images: Tensor, data_samples: Sequence | None = None,
                encoder: nn.Module | None = None, view: int = 0) -> Tensor:
        """Maps of a batch; see :meth:`SaliencyTarget.forward`."""
        return spectral_residual(images, **self.settings)

    @property
    def record(self) -> dict[str, Any]:
        """Type and settings."""
        return dict(super().record, **self.settings)


def _check(size: int, average: int, sigma: float, taper: float) -> None:
    """Raises :class:`ConfigError` for a number out of range."""
    check_range('size', size, 8, float('inf'))
    check_range('sigma', sigma, 1e-3, float('inf'))
    check_range('taper', taper, 0.0, 0.5)
    if average < 1 or average % 2 == 0:
        raise ConfigError(f'average={average}: allowed is 1, 3, 5, …')


def _shrink(grey: Tensor, size: int) -> Tensor:
    """Longer side to ``size``, never larger."""
    height, width = grey.shape[-2:]
    factor = min(1.0, size / max(height, width))
    target = [max(1, round(height * factor)), max(1, round(width * factor))]
    return F.interpolate(grey, target, mode='bilinear', antialias=True,
                         align_corners=False)


def _fade(grey: Tensor, share: float) -> Tensor:
    """To the mean of the image towards its borders, as half a cosine."""
    windows = []
    for length in grey.shape[-2:]:
        place = torch.arange(length, device=grey.device) + 0.5
        inside = torch.minimum(place, length - place) / (length * share)
        windows.append(0.5 - 0.5 * torch.cos(torch.pi * inside.clamp(max=1)))
    mean = grey.mean((2, 3), keepdim=True)
    faded: Tensor = mean + (
        grey - mean) * windows[0][:, None] * windows[1]
    return faded


def _residual(grey: Tensor, average: int) -> Tensor:
    """(M, 1, h, w) energy of the image with the residual spectrum."""
    spectrum = torch.fft.fft2(grey)
    amplitude = spectrum.abs().clamp(min=1e-8)
    log = amplitude.log()
    pad = average // 2
    # the spectrum is periodic
    around = F.pad(log, (pad, pad, pad, pad), mode='circular')
    residual = log - F.avg_pool2d(around, average, stride=1)
    back = torch.fft.ifft2(spectrum / amplitude * residual.exp())
    energy: Tensor = back.real.square() + back.imag.square()
    return energy


def _smooth(values: Tensor, sigma: float) -> Tensor:
    """Gaussian filter, the border repeated."""
    reach = max(1, round(3 * sigma))
    steps = torch.arange(-reach, reach + 1, device=values.device)
    kernel = torch.exp(-0.5 * (steps / sigma)**2)
    kernel = kernel / kernel.sum()
    values = F.pad(values, (reach, ) * 4, mode='replicate')
    values = F.conv2d(values, kernel.view(1, 1, -1, 1))
    return F.conv2d(values, kernel.view(1, 1, 1, -1))


def _stretch(values: Tensor) -> Tensor:
    """Each image to [0, 1]."""
    low = values.amin((2, 3), keepdim=True)
    high = values.amax((2, 3), keepdim=True)
    return (values - low) / (high - low).clamp(min=1e-20)
