"""Colour operations against torchvision's on Pillow images and tensors."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import functional as tvf
from toy_images import picture

from mimplug.datasets.device import colour
from mimplug.datasets.device.plan import BLENDS

FACTORS = {
    'brightness': (0.0, 0.6, 1.0, 1.37), 'contrast': (0.0, 0.61, 1.0, 1.4),
    'saturation': (0.0, 0.8, 1.0, 1.2), 'hue': (-0.5, -0.1, 0.0, 0.07)}


def pictures():
    """Photograph-like, noise, grey, black and white, saturated colours."""
    rng = np.random.RandomState(0)
    noise = rng.randint(0, 256, (40, 48, 3), dtype=np.uint8)
    gray = np.repeat(noise[..., :1], 3, axis=2)
    corners = (noise // 128 * 255).astype(np.uint8)
    return [picture(48, 40), noise, gray, corners]


def as_batch(images):
    """(M, h, 3, w) float32."""
    return torch.stack([torch.from_numpy(image).permute(0, 2, 1)
                        for image in images]).float()


def value(name, factor):
    """The number that the operation takes."""
    return int(factor * 255) % 256 if name == 'hue' else factor


def apply(name, images, values):
    """The operation on a batch, each image with its own value."""
    values = torch.as_tensor(values, dtype=torch.float32)
    if name == 'hue':
        return colour.hue(images, values)
    code, = (code for code, word in BLENDS.items() if word == name)
    return colour.blend(images, torch.full_like(values, code), values)


@pytest.mark.unit
@pytest.mark.parametrize('name', FACTORS)
def test_equal_to_torchvision_on_pillow_images(name):
    images = pictures() * len(FACTORS[name])
    factors = np.repeat(FACTORS[name], len(pictures()))
    ours = apply(name, as_batch(images), [value(name, f) for f in factors])
    for view, image, factor in zip(ours, images, factors):
        want = getattr(tvf, f'adjust_{name}')(
            Image.fromarray(image), float(factor))
        assert np.array_equal(view.permute(0, 2, 1).numpy(), np.array(want))


@pytest.mark.unit
@pytest.mark.parametrize('name, limit', [
    # truncation after the operation; and 8-bit hue and saturation
    ('brightness', 1.0), ('contrast', 1.6), ('saturation', 1.6),
    ('hue', 12.0)])
def test_near_torchvision_on_float_tensors(name, limit):
    image = pictures()[0]
    chw = torch.from_numpy(image).permute(2, 0, 1) / 255
    for factor in FACTORS[name]:
        ours = apply(name, as_batch([image]), [value(name, factor)])
        want = getattr(tvf, f'adjust_{name}')(chw, factor) * 255
        error = (ours[0].permute(1, 0, 2) - want).abs()
        assert error.max() <= limit
        assert error.mean() <= 1.5


@pytest.mark.unit
def test_gray_and_solarisation():
    images = pictures()
    ours = colour.gray_levels(as_batch(images))
    inverted = colour.solarize(
        as_batch(images), torch.tensor([0.0, 90.0, 128.0, 255.0]))
    for number, image in enumerate(images):
        whole = Image.fromarray(image)
        assert np.array_equal(ours[number, :, 0], np.asarray(
            whole.convert('L')))
        want = ImageOps.solarize(whole, (0, 90, 128, 255)[number])
        assert np.array_equal(
            inverted[number].permute(0, 2, 1), np.asarray(want))


@pytest.mark.unit
def test_each_image_has_its_own_operation():
    images = as_batch(pictures())
    mixed = colour.blend(images, torch.tensor([1.0, 2.0, 3.0, 2.0]),
                         torch.tensor([0.7, 1.3, 0.9, 1.0]))
    for row, (name, factor) in enumerate((
            ('brightness', 0.7), ('contrast', 1.3), ('saturation', 0.9),
            ('contrast', 1.0))):
        alone = apply(name, images[row:row + 1], [factor])
        assert torch.equal(mixed[row], alone[0])
    assert torch.equal(mixed[3], images[3])


@pytest.mark.property
def test_contrast_of_large_images_is_exact():
    """The sum of the luminance does not fit into float32."""
    image = np.full((500, 700, 3), 255, np.uint8)
    image[0, 0] = 0
    ours = apply('contrast', as_batch([image]), [0.5])
    want = tvf.adjust_contrast(Image.fromarray(image), 0.5)
    assert np.array_equal(ours[0].permute(0, 2, 1), np.asarray(want))
