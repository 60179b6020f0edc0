"""Multi-crop: equal to torchvision, right geometry, right probabilities."""
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter, ImageOps
from scipy.stats import ks_2samp
from torchvision import transforms as tv
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf
from toy_images import picture

from mimplug.datasets import CropSpec, MultiCrop
from mimplug.datasets.transforms import ViewParams, render_view
from mimplug.datasets.transforms.functional import (
    draw_crop_box,
    draw_jitter,
    to_chw,
)
from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError

GEOMETRY_ONLY = dict(
    jitter_prob=0.0, gray_prob=0.0, blur_prob=0.0, solarize_prob=0.0)


def keyed(index=0, seed=0):
    return KeyedRandom(seed, 0, index)


def crop(image=None, index=0, seed=0, **kwargs):
    image = picture() if image is None else image
    return MultiCrop(**kwargs)(dict(img=image, draws=keyed(index, seed)))


@pytest.mark.unit
@pytest.mark.parametrize('order', [
    ('brightness', 'contrast', 'saturation', 'hue'),
    ('hue', 'saturation', 'contrast', 'brightness')])
def test_render_equals_the_torchvision_composition(order):
    factors = dict(brightness=1.3, contrast=0.7, saturation=1.15, hue=-0.08)
    image = Image.fromarray(picture(61, 47))
    params = ViewParams(
        box=(5, 7, 44, 40), flip=True, gray=False, blur_radius=1.3,
        jitter=tuple((name, factors[name]) for name in order),
        solarize_threshold=128)
    expected = tvf.hflip(tvf.resized_crop(
        image, 7, 5, 33, 39, [32, 24], InterpolationMode.BICUBIC))
    for name in order:
        adjust = getattr(tvf, f'adjust_{name}')
        expected = adjust(expected, factors[name])
    expected = expected.filter(ImageFilter.GaussianBlur(radius=1.3))
    expected = ImageOps.solarize(expected)
    view = render_view(image, params, (32, 24))
    assert np.array_equal(np.asarray(view), np.asarray(expected))
    gray = render_view(image, ViewParams(box=(0, 0, 61, 47), gray=True),
                       (47, 61))
    assert np.array_equal(np.asarray(gray),
                          np.asarray(tv.Grayscale(3)(image)))


@pytest.mark.unit
def test_views_equal_torchvision_with_the_drawn_parameters():
    image = picture(61, 47)
    module = MultiCrop(dict(size=32), dict(num=3, size=16))
    results = module(dict(img=image, draws=keyed(4)))
    original = Image.fromarray(image)
    for number, view in enumerate(results['views']):
        spec = module.global_crops if number < 2 else module.local_crops
        place = number if number < 2 else number - 2
        params = spec.draw(keyed(4).for_view(number), 61, 47, place)
        x0, y0, x1, y1 = params.box
        size = list(spec.shape)
        steps = [lambda im, b=params.box, size=size: tvf.resized_crop(
            im, b[1], b[0], b[3] - b[1], b[2] - b[0], size,
            InterpolationMode.BICUBIC)]
        steps += [tvf.hflip] * params.flip
        steps += [lambda im, n=n, f=f: getattr(tvf, f'adjust_{n}')(im, f)
                  for n, f in params.jitter]
        steps += [tv.Grayscale(3)] * params.gray
        if params.blur_radius:
            steps.append(lambda im, r=params.blur_radius: im.filter(
                ImageFilter.GaussianBlur(r)))
        if params.solarize_threshold is not None:
            steps.append(ImageOps.solarize)
        expected = tv.Compose([*steps, tv.PILToTensor()])(original)
        assert view.dtype == torch.uint8
        assert torch.equal(view, expected)
        assert results['view_boxes'][number].tolist() == [x0, y0, x1, y1]
        assert results['view_flips'][number] == params.flip


@pytest.mark.property
@pytest.mark.parametrize('shape', [(47, 61), (1, 9), (8, 120), (3, 3)])
def test_boxes_map_back_to_the_image(shape):
    height, width = shape
    image = picture(width, height)
    for index in range(20):
        results = crop(
            image, index, global_crops=dict(size=20, **GEOMETRY_ONLY),
            local_crops=dict(num=2, size=8, **GEOMETRY_ONLY))
        for view, box, flip in zip(results['views'], results['view_boxes'],
                                   results['view_flips']):
            x0, y0, x1, y1 = box.astype(int)
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            part = Image.fromarray(image[y0:y1, x0:x1]).resize(
                (view.shape[2], view.shape[1]), Image.Resampling.BICUBIC)
            expected = to_chw(part)
            assert torch.equal(view, expected.flip(2) if flip else expected)


@pytest.mark.property
def test_crop_boxes_follow_torchvisions_distribution():
    torch.manual_seed(0)
    image = Image.new('RGB', (500, 375))
    scale, ratio = (0.05, 1.0), (3 / 4, 4 / 3)
    ours = np.array([draw_crop_box(keyed(i), 500, 375, scale, ratio)
                     for i in range(4000)], float)
    theirs = np.array([tv.RandomResizedCrop.get_params(
        image, list(scale), list(ratio)) for _ in range(4000)], float)
    top, left, height, width = theirs.T
    theirs = np.stack([left, top, left + width, top + height], 1)
    area = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (ours, theirs)]
    for one, two in [*zip(ours.T, theirs.T), area]:
        # equal distributions pass with probability 0.999
        assert ks_2samp(one, two).pvalue > 1e-3


@pytest.mark.unit
def test_a_box_that_never_fits_becomes_the_central_one():
    for width, height, box in ((100, 10, (44, 0, 57, 10)),
                               (10, 100, (0, 44, 10, 57))):
        # the whole area cannot have an allowed aspect ratio
        drawn = draw_crop_box(keyed(), width, height, (1.0, 1.0),
                              (3 / 4, 4 / 3))
        in_torchvision = tv.RandomResizedCrop.get_params(
            Image.new('RGB', (width, height)), [1.0, 1.0], [3 / 4, 4 / 3])
        top, left, h, w = in_torchvision
        assert drawn == (left, top, left + w, top + h)
        assert drawn[2] - drawn[0] == box[2] - box[0]
        assert drawn[3] - drawn[1] == box[3] - box[1]


@pytest.mark.property
def test_probabilities_and_ranges_are_the_references():
    spec = MultiCrop(dict(), dict()).global_crops
    first, second = (
        [spec.draw(keyed(i).for_view(view), 60, 50, view)
         for i in range(3000)] for view in (0, 1))

    def share(views, test):
        return sum(map(test, views)) / len(views)

    def close(value, p):
        return abs(value - p) < 4 * math.sqrt(p * (1 - p) / 3000) + 1e-9

    assert share(first, lambda v: v.blur_radius > 0) == 1
    assert close(share(second, lambda v: v.blur_radius > 0), 0.1)
    assert share(first, lambda v: v.solarize_threshold is not None) == 0
    assert close(share(second, lambda v: v.solarize_threshold == 128), 0.2)
    for views in (first, second):
        assert close(share(views, lambda v: v.flip), 0.5)
        assert close(share(views, lambda v: v.gray), 0.2)
        assert close(share(views, lambda v: len(v.jitter) == 4), 0.8)
    radii = [v.blur_radius for v in first]
    assert 0.1 <= min(radii) < 0.12
    assert 1.98 < max(radii) <= 2.0
    local = MultiCrop(dict(), dict()).local_crops
    blurred = [local.draw(keyed(i), 60, 50).blur_radius > 0
               for i in range(3000)]
    assert close(sum(blurred) / 3000, 0.5)


@pytest.mark.property
def test_jitter_factors_and_orders():
    drawn = [draw_jitter(keyed(i), (0.4, 0.3, 0.2, 0.1)) for i in range(2400)]
    ranges = dict(brightness=(0.6, 1.4), contrast=(0.7, 1.3),
                  saturation=(0.8, 1.2), hue=(-0.1, 0.1))
    for name, (low, high) in ranges.items():
        values = np.array([dict(pairs)[name] for pairs in drawn])
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * (high - low)
    orders = [tuple(name for name, _ in pairs) for pairs in drawn]
    assert len(set(orders)) == 24
    assert max(orders.count(order) for order in set(orders)) < 160
    assert [name for name, _ in draw_jitter(keyed(), (0, 0.4, 0, 0))] == [
        'contrast']


@pytest.mark.unit
def test_views_are_different_writable_and_leave_the_image_alone():
    image = picture()
    before = image.copy()
    results = crop(image, global_crops=dict(size=32),
                   local_crops=dict(num=4, size=32, scale=(0.25, 1.0)))
    views = results['views']
    assert len(views) == 6
    assert results['num_globals'] == 2
    assert all(not torch.equal(a, b) for i, a in enumerate(views)
               for b in views[:i])
    views[0].zero_()
    assert np.array_equal(image, before)
    # the views of a sample do not depend on how many there are
    fewer = crop(image, global_crops=dict(size=32))
    assert torch.equal(fewer['views'][1], views[1])


@pytest.mark.unit
def test_sizes_and_views_beyond_a_probability_list():
    results = crop(global_crops=dict(num=1, size=(20, 30)),
                   local_crops=None)
    assert [tuple(v.shape) for v in results['views']] == [(3, 20, 30)]
    spec = CropSpec(num=3, blur_prob=(1.0, 0.1))
    assert [spec.prob('blur', view) for view in range(3)] == [1.0, 0.1, 0.1]


@pytest.mark.unit
@pytest.mark.parametrize('settings, message', [
    (dict(sizes=24), "did you mean 'size'"),
    (dict(size=0), 'size=0'),
    (dict(scale=(0.5, 0.2)), 'scale'),
    (dict(scale=(0.5, 1.2)), '1.2'),
    (dict(blur_prob=1.5), 'blur_prob=1.5'),
    (dict(blur_prob=()), 'empty'),
    (dict(num=1, blur_prob=(1.0, 0.1)), 'more entries'),
    (dict(jitter=(0.4, 0.4)), 'four strengths'),
    (dict(jitter=(0.4, 0.4, 0.2, 0.6)), 'jitter=0.6'),
    (dict(interpolation='bicubik'), "did you mean 'bicubic'"),
    (dict(num=0), 'num=0'),
])
def test_wrong_settings_name_the_argument(settings, message):
    with pytest.raises(ConfigError, match=message) as caught:
        MultiCrop(dict(), settings)
    assert 'local_crops' in str(caught.value)


@pytest.mark.unit
def test_without_keyed_draws_the_wrapper_is_named():
    with pytest.raises(ConfigError, match='KeyedDataset'):
        MultiCrop(dict())(dict(img=picture()))
