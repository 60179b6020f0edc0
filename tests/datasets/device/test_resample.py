"""Crop, resize and flip against Pillow."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf
from toy_images import picture

from mimplug.datasets.device.resample import (
    FILTERS,
    WEIGHT_ONE,
    count_taps,
    crop_and_resize,
    resize_weights,
)

IMAGES = [picture(61, 47), picture(150, 90, 1), picture(7, 5, 2)]
# image, box x0 y0 x1 y1
BOXES = ((0, (0, 0, 61, 47)), (0, (5, 7, 44, 40)), (1, (0, 0, 150, 90)),
         (1, (20, 3, 148, 17)), (2, (0, 0, 7, 5)), (2, (3, 1, 4, 2)),
         (0, (60, 0, 61, 47)))


def run(boxes, shape, name='bicubic', flips=None, pad=0):
    """The boxes in one call, as (M, h, w, 3) integers."""
    pixels = torch.from_numpy(np.concatenate(
        [image.reshape(-1, 3) for image in IMAGES]))
    offsets = np.cumsum([0] + [i.shape[0] * i.shape[1] for i in IMAGES])
    columns = {key: [] for key in ('offset', 'stride', 'left', 'top',
                                   'width', 'height', 'flip')}
    for number, (image, (x0, y0, x1, y1)) in enumerate(boxes):
        row = (offsets[image], IMAGES[image].shape[1], x0, y0, x1 - x0,
               y1 - y0, flips[number] if flips else 0)
        for key, value in zip(columns, row):
            columns[key].append(value)
    columns = {key: torch.tensor(value, dtype=torch.float64)
               for key, value in columns.items()}
    largest = tuple(int(columns[key].max()) + pad
                    for key in ('height', 'width'))
    views = crop_and_resize(pixels, columns, largest, shape, name)
    return views.permute(0, 1, 3, 2)


def reference(image, box, shape, name, flip):
    x0, y0, x1, y1 = box
    view = tvf.resized_crop(
        Image.fromarray(IMAGES[image]), y0, x0, y1 - y0, x1 - x0,
        list(shape), InterpolationMode(name))
    return np.asarray(tvf.hflip(view) if flip else view).astype(int)


@pytest.mark.unit
@pytest.mark.parametrize('name', FILTERS)
@pytest.mark.parametrize('shape', [(32, 32), (13, 30), (1, 5), (96, 70)])
def test_equal_to_pillow(name, shape):
    flips = [number % 2 for number in range(len(BOXES))]
    views = run(BOXES, shape, name, flips).numpy()
    errors = []
    for view, (image, box), flip in zip(views, BOXES, flips):
        error = np.abs(view - reference(image, box, shape, name, flip))
        # a level in each of two roundings. Pillow's weights have 22 bits,
        # these 15; and Pillow 13 takes columns first where that is less work
        assert error.max() <= 2
        errors.append(error.ravel())
    errors = np.concatenate(errors)
    assert (errors > 0).mean() < 0.2
    assert (errors > 1).mean() < 0.001


@pytest.mark.property
@pytest.mark.parametrize('shape', [(32, 32), (20, 7)])
def test_neighbours_and_padding_change_no_bit(shape):
    together = run(BOXES, shape)
    padded = run(BOXES, shape, pad=23)
    assert torch.equal(together, padded)
    for number, box in enumerate(BOXES):
        assert torch.equal(run([box], shape)[0], together[number])


@pytest.mark.property
@pytest.mark.parametrize('name', FILTERS)
def test_weights_are_whole_exact_and_sum_to_one(name):
    lengths = torch.arange(1, 400, 7, dtype=torch.float64)
    weights = resize_weights(
        lengths, 24, 400, count_taps(393, 24, name), name)
    assert torch.equal(weights, weights.round())
    # products with 8-bit pixels stay exact in float32
    assert weights.abs().sum(-1).max() * 255 < 2**24
    torch.testing.assert_close(
        weights.sum(-1), torch.full(weights.shape[:2], float(WEIGHT_ONE)),
        rtol=0, atol=24.0)
    beyond = torch.arange(400) >= lengths[:, None, None]
    assert not weights[beyond.expand_as(weights)].any()
