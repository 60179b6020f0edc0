"""The evaluation view: equal to torchvision, right place."""
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision import transforms as tv
from toy_images import picture

from mimplug.datasets import CenterView
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize('width, height', [
    (61, 47), (47, 61), (50, 50), (20, 90), (300, 31)])
@pytest.mark.parametrize('size, resize', [(24, 32), (31, 32), (32, 32)])
def test_equals_torchvision(width, height, size, resize):
    image = picture(width, height)
    results = CenterView(size, resize)(dict(img=image))
    expected = tv.Compose([
        tv.Resize(resize, tv.InterpolationMode.BICUBIC),
        tv.CenterCrop(size)])(Image.fromarray(image))
    assert np.array_equal(results['img'], np.asarray(expected))
    assert results['img_shape'] == (size, size)


@pytest.mark.parametrize('width, height', [(61, 46), (30, 41)])
def test_without_resize_the_box_is_the_crop(width, height):
    image = picture(width, height)
    results = CenterView(20, resize=None)(dict(img=image))
    x0, y0, x1, y1 = results['view_boxes'][0].astype(int)
    assert np.array_equal(results['img'], image[y0:y1, x0:x1])
    assert (x1 - x0, y1 - y0) == (20, 20)
    assert not results['view_flips'].any()


def test_small_images_are_padded_and_the_box_says_so():
    image = picture(15, 41)
    results = CenterView(20, resize=None)(dict(img=image))
    expected = tv.CenterCrop(20)(Image.fromarray(image))
    assert np.array_equal(results['img'], np.asarray(expected))
    x0, y0, x1, y1 = results['view_boxes'][0].astype(int)
    assert (x0, x1) == (-2, 18)
    assert np.array_equal(results['img'][:, -x0:-x0 + 15], image[y0:y1])


def test_box_scales_with_the_resize():
    results = CenterView(32, 64)(dict(img=picture(200, 100)))
    # short side 100 -> 64; the crop covers half of it, centred
    np.testing.assert_allclose(
        results['view_boxes'], [[75, 25, 125, 75]], atol=1e-4)


@pytest.mark.parametrize('args', [(0, 10), (32, 24)])
def test_wrong_sizes(args):
    with pytest.raises(ConfigError, match=f'size={args[0]}'):
        CenterView(*args)
