"""Mugs' views: the release's operations, rates and routes, and keyed."""
from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as tvf
from toy_images import picture

from mimplug.datasets import MugsMultiCrop, MultiCrop, PackViews
from mimplug.datasets.collate import view_collate
from mimplug.datasets.preprocessor import MultiViewDataPreprocessor
from mimplug.datasets.transforms.multi_crop import CropSpec
from mimplug.datasets.transforms.rand_augment import (
    OPS,
    ImageOp,
    RandAugmentSpec,
    apply_op,
    op_argument,
)
from mimplug.datasets.transforms.strong import StrongSpec
from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError

FILL = (124, 116, 104)
GLOBALS, LOCALS = dict(size=32), dict(num=3, size=16)


def keyed(index=0, seed=0):
    return KeyedRandom(seed, 0, index)


def crop(image=None, index=0, transform=None, **kwargs):
    image = picture() if image is None else image
    transform = transform or MugsMultiCrop(GLOBALS, LOCALS, **kwargs)
    return transform(dict(img=image.copy(), draws=keyed(index)))


def prepared(samples, mean=0.0, std=255.0):
    """Views of some samples on the [0, 1] scale, erased, (V lists)."""
    batch = view_collate([PackViews()(sample) for sample in samples])
    prepare = MultiViewDataPreprocessor([mean] * 3, [std] * 3)
    return prepare(batch)['inputs']


@pytest.mark.golden('mugs', 'augmentation')
def test_operations_are_the_releases(golden):
    assert list(golden['ra/op_names']) == list(OPS)
    for sign, negative in (('pos', False), ('neg', True)):
        for row, name in enumerate(OPS):
            for column, magnitude in enumerate(golden['ra/magnitudes']):
                want = golden[f'ra/args_{sign}'][row, column]
                got = op_argument(name, magnitude, negative=negative)
                assert (got is None) == np.isnan(want)
                assert got is None or got == want
        pictures = golden[f'ra/out_m9_{sign}_bicubic']
        image = Image.fromarray(golden['image'])
        for name, want in zip(OPS, pictures):
            op = ImageOp(name, op_argument(name, 9.0, negative=negative))
            assert np.array_equal(np.asarray(apply_op(image, op, FILL)), want)


def statistics(views):
    """Of (N, 3, h, w): means, deviations, shares of erased and of grey."""
    mean, std = views.mean((2, 3)), views.std((2, 3), correction=0)
    outside = (views < -1e-6) | (views > 1 + 1e-6)
    gray = (views == views[:, :1]).flatten(1).all(1)
    return dict(channel_mean=mean, channel_std=std,
                erased=outside.flatten(1).any(1).float().mean(),
                outside=outside.float().mean(), gray=gray.float().mean())


@pytest.mark.golden('mugs', 'augmentation')
def test_views_are_distributed_as_the_releases(golden):
    count, theirs = 1000, golden.scalar('hyper/n_draws')
    sizes = dict(size=golden.scalar('hyper/global_size')), dict(
        num=1, size=golden.scalar('hyper/local_size'))

    def draw(prob, *numbers):
        transform = MugsMultiCrop(*sizes, strong_prob=prob)
        views = prepared([
            crop(golden['image'], index, transform) for index in range(count)])
        return [views[number] for number in numbers]

    names = ('weak_global_1', 'weak_global_2', 'strong_global',
             'strong_local', 'weak_local')
    for name, views in zip(names, draw(1.0, 0, 1, 2, 4) + draw(0.0, 4)):
        got = statistics(views)
        assert list(views.shape[1:]) == list(golden[f'{name}/shape'])
        for part in ('mean', 'std'):
            values = got[f'channel_{part}']
            wants = golden.tensor(f'{name}/mean_of_channel_{part}')
            spread = golden.tensor(f'{name}/std_of_channel_{part}')
            # two samples, each with its own error
            error = spread * math.sqrt(1 / count + 1 / theirs)
            assert ((values.mean(0) - wants).abs() < 5 * error).all(), name
            assert (values.std(0) / spread - 1).abs().max() < 0.2, name
        # three standard errors of a rate are 0.05
        assert abs(got['erased'] - golden.scalar(
            f'{name}/fraction_of_draws_erased')) < 0.05
        assert abs(got['gray'] - golden.scalar(
            f'{name}/fraction_of_draws_gray')) < 0.05
        assert abs(got['outside'] - golden.scalar(
            f'{name}/mean_fraction_outside_01')) < 0.02


@pytest.mark.golden('mugs', 'augmentation')
def test_routes_are_the_releases(golden):
    transform = MugsMultiCrop(GLOBALS, dict(num=2, size=16))
    routes = [transform.route(keyed(index)) for index in range(5000)]
    weak = np.array([flag for _, flag in routes])
    strong = np.array([[slot.strong for slot in slots] for slots, _ in routes])
    assert not strong[:, :2].any()
    # the student's pair is strong together, and tells what `weak` says
    assert (strong[:, 2] == strong[:, 3]).all()
    assert (strong[:, 2] == ~weak).all()
    rates = weak.mean(), strong[:, 4:].mean()
    for rate, name in zip(rates, ('weak_flag', 'local_strong')):
        assert abs(rate - golden.scalar(f'route/{name}_rate_20000')) < 0.02
    for one, two in ((weak, strong[:, 4]), (strong[:, 4], strong[:, 5])):
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.06
    # kind 1 and 2 are the two weak globals, 3 the strong one
    for case in (True, False):
        slots, _ = routes[int(np.flatnonzero(weak == case)[0])]
        name = 'weak' if case else 'strong'
        kinds = [3 if slot.strong else slot.place + 1 for slot in slots[:4]]
        assert kinds == list(golden[f'route/crop_kinds_when_{name}'])


@pytest.mark.property
def test_operations_are_chosen_as_told():
    spec = RandAugmentSpec()
    drawn = [spec.draw(keyed(i)) for i in range(6000)]
    names = [op.name for ops in drawn for op in ops]
    # 2 of 15, each with probability 1/2
    rates = np.array([names.count(name) for name in OPS]) / 6000
    assert np.abs(rates - 1 / 15).max() < 0.015
    assert all(len({op.name for op in ops}) == len(ops) for ops in drawn)
    angles = np.array([op.argument for ops in drawn for op in ops
                       if op.name == 'Rotate'])
    assert abs((angles > 0).mean() - 0.5) < 0.12
    assert abs(np.abs(angles).mean() - 27) < 0.4
    assert np.abs(angles).max() <= 30
    assert 1 < np.abs(angles).std() < 1.7
    assert {op.resample for ops in drawn for op in ops} == {
        Image.Resampling.BILINEAR, Image.Resampling.BICUBIC}
    assert RandAugmentSpec(num_ops=0).draw(keyed()) == ()
    fixed = RandAugmentSpec(prob=1.0, magnitude=10, magnitude_std=0)
    assert all(len(fixed.draw(keyed(i))) == 2 for i in range(20))


@pytest.mark.unit
def test_posterize_keeps_a_bit():
    """The release makes the image black, newer Pillows raise an error."""
    name = 'PosterizeIncreasing'
    image = Image.fromarray(picture())
    assert op_argument(name, 10.0) == 0
    view = apply_op(image, ImageOp(name, op_argument(name, 10.0)), FILL)
    assert np.array_equal(
        np.asarray(view), np.asarray(ImageOps.posterize(image, 1)))


@pytest.mark.unit
@pytest.mark.parametrize('colours', [False, True])
@pytest.mark.parametrize('crop_first', [False, True])
def test_strong_views_equal_the_steps_by_hand(crop_first, colours):
    image = Image.fromarray(picture(61, 47))
    spec = CropSpec(size=(24, 20), jitter_prob=1.0)
    strong = StrongSpec(rand_augment=RandAugmentSpec(prob=1.0),
                        crop_first=crop_first, colours=colours)
    for index in range(8):
        params = strong.draw(spec, keyed(index), 61, 47, 0)
        assert len(params.ops) == 2
        x0, y0, x1, y1 = params.view.box
        if params.view.flip and not crop_first:
            x0, x1 = 61 - x1, 61 - x0

        def crop(image, box=(x0, y0, x1, y1)):
            x0, y0, x1, y1 = box
            return tvf.resized_crop(image, y0, x0, y1 - y0, x1 - x0,
                                    [24, 20], InterpolationMode.BICUBIC)

        want = crop(image) if crop_first else image
        if params.view.flip:
            want = tvf.hflip(want)
        for op in params.ops:
            want = apply_op(want, op, FILL)
        if not crop_first:
            want = crop(want)
        assert len(params.view.jitter) == 4 * colours
        for name, factor in params.view.jitter:
            want = getattr(tvf, f'adjust_{name}')(want, factor)
        if params.view.gray:
            want = tvf.to_grayscale(want, 3)
        got = strong.render(image, params, spec)
        assert np.array_equal(np.asarray(got), np.asarray(want))


@pytest.mark.unit
def test_order_sizes_and_geometry():
    results = crop(index=3)
    assert [view.shape[-1] for view in results['views']] == [32] * 4 + [16] * 3
    assert results['num_globals'] == 4
    assert results['view_boxes'].shape == results['erase_boxes'].shape == (
        7, 4)
    # weak views are MultiCrop's, so is the teacher's pair
    plain = MultiCrop(GLOBALS, LOCALS)(
        dict(img=picture(), draws=keyed(3)))
    for number in (0, 1):
        assert torch.equal(results['views'][number], plain['views'][number])
    assert not torch.equal(results['views'][0], results['views'][2])


@pytest.mark.unit
def test_without_local_crops_and_with_shared_views():
    alone = crop(transform=MugsMultiCrop(GLOBALS))
    assert [view.shape[-1] for view in alone['views']] == [32] * 4
    shared = crop(transform=MugsMultiCrop(
        GLOBALS, LOCALS, share_views=True, strong_prob=1.0))
    assert len(shared['views']) == 5
    assert shared['num_globals'] == 2
    assert shared['weak'] is True
    assert shared['view_strong'].tolist() == [False] * 2 + [True] * 3
    for number in (0, 1):
        assert torch.equal(shared['views'][number], alone['views'][number])


@pytest.mark.property
def test_views_depend_on_the_key_alone():
    one, again = (
        prepared([crop(index=index) for index in order])
        for order in ([0, 1, 2, 5], [5, 2, 1, 0]))
    for left, right in zip(one, again):
        assert torch.equal(left, right.flip(0))
    other = prepared([crop(index=index) for index in (7, 8, 9, 10)])
    assert all(not torch.equal(a, b) for a, b in zip(one, other))
    # of a strong view, too: some of them must have been erased
    erased = [crop(index=index)['erase_boxes'][:, 2].any()
              for index in (0, 1, 2, 5)]
    assert any(erased)


@pytest.mark.unit
def test_packed_samples_tell_the_flag():
    samples = [PackViews()(crop(index=index))['data_samples']
               for index in range(16)]
    assert {sample.weak for sample in samples} == {True, False}
    for sample in samples:
        assert bool(sample.view_strong[2]) == (not sample.weak)
        assert not sample.erase_boxes[~sample.view_strong].any()


@pytest.mark.unit
@pytest.mark.parametrize('settings, message', [
    (dict(strong_prob=1.5), 'strong_prob'),
    (dict(strong=dict(erased=1)), "did you mean 'erase'"),
    (dict(strong=dict(erase=dict(prob=2))), 'strong: erase: prob'),
    (dict(strong=dict(rand_augment=dict(num_ops=16))), 'num_ops'),
    (dict(strong=dict(rand_augment=dict(fill=(1, 2)))), 'red, green, blue'),
    (dict(strong=dict(erase=dict(area=(0.5, 0.1)))), 'smallest, largest'),
])
def test_errors(settings, message):
    with pytest.raises(ConfigError, match=message):
        MugsMultiCrop(GLOBALS, LOCALS, **settings)


@pytest.mark.property
@pytest.mark.parametrize('shape', [(1, 9), (3, 3), (8, 120), (1, 1)])
def test_odd_images(shape):
    height, width = shape
    for crop_first in (False, True):
        transform = MugsMultiCrop(
            dict(size=(24, 20)), dict(num=1, size=7), strong_prob=1.0,
            strong=dict(rand_augment=dict(prob=1.0), colours=True,
                        crop_first=crop_first))
        for index in range(30):
            results = crop(picture(width, height), index, transform)
            assert [tuple(view.shape) for view in results['views']] == [
                (3, 24, 20)] * 4 + [(3, 7, 7)]
            x0, y0, x1, y1 = results['view_boxes'].T
            assert min(x0.min(), y0.min()) >= 0
            assert x1.max() <= width
            assert y1.max() <= height
