"""The blur against Pillow's, and as a Gaussian."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from toy_images import picture

from mimplug.datasets.device.blur import (
    blur,
    blur_matrices,
    box_reach,
)
from mimplug.datasets.device.resample import WEIGHT_ONE

# not 1: the weights are then 1/6 and 2/3, and Pillow rounds halves down
RADII = (0.1, 0.35, 0.5, 0.81, 1.02, 1.4, 1.99, 2.0, 4.7)


def as_batch(image, count=1):
    one = torch.from_numpy(image).permute(0, 2, 1).float()
    return one.repeat(count, 1, 1, 1)


@pytest.mark.unit
@pytest.mark.parametrize('size', [(48, 40), (31, 31), (5, 9), (1, 3), (1, 1)])
def test_a_level_or_two_from_pillow(size):
    image = picture(*size)
    ours = blur(as_batch(image, len(RADII)), torch.tensor(RADII),
                reach=box_reach(max(RADII)))
    for view, radius in zip(ours, RADII):
        want = np.asarray(Image.fromarray(image).filter(
            ImageFilter.GaussianBlur(radius))).astype(int)
        error = view.permute(0, 2, 1).numpy() - want
        assert np.abs(error).max() <= 2
        assert np.abs(error).mean() < 1
        if error.size > 1000:
            assert abs(error.mean()) < 0.1


@pytest.mark.property
def test_rows_are_a_gaussian_of_the_asked_width():
    radius = torch.tensor(RADII, dtype=torch.float64)
    weights = blur_matrices(radius, 101, box_reach(max(RADII)))
    response = weights[:, 50].double() / WEIGHT_ONE
    place = torch.arange(101.0) - 50
    torch.testing.assert_close(
        response.sum(1), torch.ones(len(RADII)).double(), rtol=0, atol=1e-3)
    assert torch.equal(response, response.flip(1))
    deviation = (response * place**2).sum(1).sqrt()
    torch.testing.assert_close(deviation, radius, rtol=0.02, atol=0.01)


@pytest.mark.property
def test_the_reach_of_the_batch_changes_no_bit():
    image = as_batch(picture(40, 30), len(RADII))
    radius = torch.tensor(RADII)
    together = blur(image, radius, reach=box_reach(max(RADII)) + 3)
    for number, one in enumerate(RADII):
        alone = blur(image[:1], radius[number:number + 1],
                     reach=box_reach(one))
        assert torch.equal(alone[0], together[number])
