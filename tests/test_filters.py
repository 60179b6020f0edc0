"""Gaussian filters: the released ones, torchvision's, any shape and type."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur as torchvisions

from mimplug.errors import ConfigError
from mimplug.filters import (
    gaussian_blur,
    gaussian_kernel,
    high_pass,
    scaled_kernel,
)

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def close(actual, expected, tolerance):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.golden('saliency_moco', 'filters')
def test_released_filters(golden):
    for size, sigma in ((11, 5.0), (31, 10.0)):
        close(gaussian_kernel(size, sigma), golden.tensor(f'kernel{size}'),
              1e-12)
    images = golden.tensor('img_u8', torch.float32) / 255
    normed = (images - MEAN) / STD
    close(normed, golden.tensor('normed'), 1e-5)
    close(high_pass(normed), golden.tensor('hp'), 2e-5)
    close(gaussian_blur(normed, 31, 10.0), golden.tensor('blur'), 2e-5)


def formula(coefficients, size=224):
    """The image that the file describes instead of storing it."""
    a, i = coefficients, np.arange(size)
    row, column, c = i[:, None], i[None, :], np.arange(3)[:, None, None]
    return (0.5 + 0.25 * np.sin(a[0] * (c + 1) * row + a[1] * column)
            + 0.2 * np.cos(a[2] * column * (c + 2) - a[3] * row))


@pytest.mark.golden('saliency_moco', 'fullsize224')
def test_released_filters_at_full_size(golden):
    image = torch.from_numpy(
        formula(golden['coef']).astype(np.float32))
    normed = ((image - MEAN) / STD)[None]
    row, column = golden.tensor('probe').T
    cells = golden['norm/cellmean'].shape[1]
    for name, result in (('norm', normed), ('hp', high_pass(normed)),
                         ('blur', gaussian_blur(normed, 31, 10.0))):
        side = 224 // cells
        parts = result[0].double().unfold(1, side, side).unfold(
            2, side, side).flatten(3)
        close(parts.mean(3), golden.tensor(f'{name}/cellmean'), 1e-5)
        close(parts.square().mean(3).sqrt(),
              golden.tensor(f'{name}/cellrms'), 1e-5)
        close(result[0][:, row, column], golden.tensor(f'{name}/probe'),
              2e-5)


@pytest.mark.property
@pytest.mark.parametrize('shape', [(1, 1, 7, 9), (2, 3, 17, 30)])
@pytest.mark.parametrize('kernel, sigma', [(1, 2.0), (5, 0.7), (13, 40.0)])
def test_equals_torchvisions(shape, kernel, sigma):
    images = torch.randn(shape, dtype=torch.float64)
    close(gaussian_blur(images, kernel, sigma),
          torchvisions(images, [kernel, kernel], [sigma, sigma]), 1e-12)


@pytest.mark.property
def test_keeps_type_shape_constants_and_gradients():
    constant = torch.full((2, 3, 9, 12), 0.7)
    close(gaussian_blur(constant, 7, 3.0), constant, 1e-6)
    close(high_pass(constant, 7, 3.0), 0 * constant, 1e-6)
    with torch.inference_mode():
        gaussian_blur(constant, 9, 3.3)
    images = torch.randn(1, 3, 9, 12, requires_grad=True)
    gaussian_blur(images, 9, 3.3).sum().backward()
    assert images.grad.abs().max() > 0


@pytest.mark.property
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_filtered_in_float32(dtype):
    images = torch.randn(2, 3, 20, 20, dtype=dtype)
    for function in (gaussian_blur, high_pass):
        got = function(images, 11, 5.0)
        assert got.dtype == dtype
        assert torch.equal(got, function(images.float(), 11, 5.0).to(dtype))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        inside = high_pass(images.float(), 11, 5.0)
    assert torch.equal(inside, high_pass(images.float(), 11, 5.0))


@pytest.mark.unit
def test_scaled_kernels_are_odd():
    assert scaled_kernel(11, 224) == 11
    assert [scaled_kernel(31, side) for side in (32, 64, 112, 448)] == [
        5, 9, 15, 61]
    assert scaled_kernel(11, 32) == scaled_kernel(3, 8) == 3


@pytest.mark.unit
def test_says_what_does_not_fit():
    images = torch.zeros(1, 3, 16, 40)
    with pytest.raises(ConfigError, match=r'16 x 40 .* mirrored by 16'):
        gaussian_blur(images, 33, 10.0)
    assert gaussian_blur(images, 31, 10.0).shape == images.shape
    for kernel in (4, 0, -3, 5.0):
        with pytest.raises(ConfigError, match='allowed is 1, 3, 5'):
            gaussian_blur(images, kernel, 1.0)
    with pytest.raises(ConfigError, match='sigma=0'):
        high_pass(images, 3, 0)
