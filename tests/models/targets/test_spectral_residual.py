"""Spectral residual saliency."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from mimplug.datasets import embedded_root
from mimplug.errors import ConfigError
from mimplug.models.targets import (
    SpectralResidual,
    build_saliency,
    spectral_residual,
)


def scene(height=64, width=64):
    """A regular texture with one square that breaks it."""
    rows, columns = np.mgrid[:height, :width]
    image = 0.5 + 0.2 * np.sin(rows * 1.3) * np.cos(columns * 0.9)
    image[40:48, 10:18] = 1.0
    return torch.from_numpy(image).float().expand(1, 3, -1, -1)


def in_numpy(grey, average=3, sigma=2.5):
    """The formula of the paper, written with other functions."""
    spectrum = np.fft.fft2(grey)
    log = np.log(np.abs(spectrum))
    residual = log - ndimage.uniform_filter(log, average, mode='wrap')
    energy = np.abs(np.fft.ifft2(
        np.exp(residual + 1j * np.angle(spectrum))))**2
    smooth = ndimage.gaussian_filter(
        energy, sigma, mode='nearest', radius=round(3 * sigma))
    return (smooth - smooth.min()) / (smooth.max() - smooth.min())


@pytest.mark.unit
def test_the_formula():
    seeded = torch.Generator().manual_seed(0)
    noise = torch.rand(2, 1, 48, 64, generator=seeded)
    got = spectral_residual(noise)
    for one, found in zip(noise[:, 0].double().numpy(), got):
        one = (one - one.min()) / (one.max() - one.min())
        np.testing.assert_allclose(found.numpy(), in_numpy(one), atol=2e-4)


@pytest.mark.unit
def test_finds_the_odd_one_out():
    got = spectral_residual(scene())[0]
    row, column = divmod(int(got.argmax()), 64)
    assert 38 <= row < 50
    assert 8 <= column < 20


@pytest.mark.property
def test_scale_offset_batch_and_precision_do_not_matter():
    image = scene(96, 130)
    plain = spectral_residual(image)
    assert plain.shape == (1, 47, 64)
    assert plain.dtype == torch.float32
    assert plain.min() == 0
    assert plain.max() == 1
    other = spectral_residual(torch.cat([torch.rand_like(image), image]) * 80
                              - 30)
    torch.testing.assert_close(other[1:], plain, atol=1e-3, rtol=0)
    half = spectral_residual(image.bfloat16())
    assert half.dtype == torch.float32
    assert (half - plain).abs().mean() < 0.05
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(spectral_residual(image), plain)


@pytest.mark.unit
def test_faded_borders_do_not_attract():
    """Left and right border of this photograph do not match."""
    photo = Image.open(embedded_root('photos') / 'coffee.jpg')
    image = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 255

    def margin(**kwargs):
        found = spectral_residual(image, **kwargs)[0]
        place = divmod(int(found.argmax()), found.shape[1])
        return min(min(at, side - 1 - at)
                   for at, side in zip(place, found.shape))

    assert margin() < 2
    assert margin(taper=0.25) > 8


@pytest.mark.unit
def test_flat_images_have_no_saliency():
    images = torch.cat([torch.full((1, 3, 32, 40), 7.0),
                        torch.rand(1, 3, 32, 40)])
    got = spectral_residual(images)
    assert not got[0].any()
    assert got[1].any()


@pytest.mark.unit
@pytest.mark.parametrize('wrong', [
    dict(size=4), dict(average=2), dict(sigma=0.0), dict(taper=0.6)])
def test_bad_settings_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        spectral_residual(torch.rand(1, 1, 16, 16), **wrong)


@pytest.mark.unit
def test_as_a_target():
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(
        0))
    target = build_saliency(dict(type='mimplug.SpectralResidual', size=16))
    assert torch.equal(
        target(images), spectral_residual(images, size=16, taper=0.25))
    assert target.record == dict(
        type='mimplug.SpectralResidual', supervised=False, size=16,
        average=3, sigma=2.5, taper=0.25)
    with pytest.raises(ConfigError, match='average=2'):
        SpectralResidual(average=2)
