"""The whole device pipeline against the CPU pipeline."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from toy_device import (
    GLOBALS,
    LEVELS,
    LOCALS,
    SIZES,
    cpu_batch,
    device_batch,
    levels,
    samples,
)
from toy_images import ArrayDataset, picture

from mimplug.datasets import (
    DeviceMultiCropPreprocessor,
    KeyedDataset,
    MultiViewDataPreprocessor,
    PlanMultiCrop,
    view_collate,
)
from mimplug.errors import ConfigError

SYNCS = ('item', 'tolist', 'cpu', 'numpy', 'nonzero', '__float__', '__int__',
         '__bool__', '__index__')


@pytest.mark.unit
def test_the_form_is_that_of_the_cpu_pipeline():
    cpu = MultiViewDataPreprocessor()(cpu_batch(range(5)))
    out = DeviceMultiCropPreprocessor()(device_batch(range(5)))
    assert out.keys() == cpu.keys()
    assert [tuple(view.shape) for view in out['inputs']] == [
        (5, 3, 32, 32)] * 2 + [(5, 3, 16, 20)] * 3
    for one, two in zip(cpu['inputs'], out['inputs']):
        assert one.dtype == two.dtype
        assert two.is_contiguous()
        assert not two.requires_grad
        # a level is 1 / 58 of the normalised scale
        assert (one - two).abs().mean() < 0.5 / 58
    assert [s.sample_key for s in out['data_samples']] == [
        (0, index, 0) for index in range(5)]


@pytest.mark.property
def test_pixels_are_a_level_or_two_from_the_cpu_pipeline():
    cpu, ours = cpu_batch(range(60))['inputs'], levels(
        device_batch(range(60)))
    for one, two in zip(cpu, ours):
        error = (one - two).abs()
        assert error.mean() < 0.4
        # the hue of nearly grey pixels turns by a level of rounding
        assert (error > 2).float().mean() < 0.01
        assert torch.equal(two, two.round())


@pytest.mark.property
def test_without_blur_and_hue_most_pixels_are_equal():
    crops = tuple(dict(crop, blur_prob=0.0, jitter=(0.4, 0.4, 0.2, 0.0),
                       solarize_prob=0.2) for crop in (GLOBALS, LOCALS))
    cpu = cpu_batch(range(60), crops)['inputs']
    for one, two in zip(cpu, levels(device_batch(range(60), crops))):
        error = (one - two).abs()
        assert error.mean() < 0.1
        # contrast stretches a level of the resize
        assert (error > 2).float().mean() < 0.005


def statistics(views):
    """Mean and deviation of each channel, energy of the gradient."""
    views = views.double()
    gradient = views.diff(dim=-1).square().mean()
    return (views.mean((0, 2, 3)), views.std((0, 2, 3)), gradient)


@pytest.mark.property
def test_statistics_of_2000_samples():
    """Same keys: tight. Other keys: within the spread of the samples."""
    crops = (dict(size=16, solarize_prob=(0.0, 0.2), blur_prob=(1.0, 0.1)),
             dict(num=1, size=12))
    parts = [range(start, start + 250) for start in range(0, 2000, 250)]
    sides = {}
    for name, make in (
            ('cpu', lambda p: cpu_batch(p, crops)['inputs']),
            ('device', lambda p: levels(device_batch(p, crops))),
            ('other', lambda p: levels(device_batch(p, crops, seed=9)))):
        batches = [make(part) for part in parts]
        sides[name] = [torch.cat(views).double() for views in zip(*batches)]
    for cpu, ours, other in zip(*sides.values()):
        want, got = statistics(cpu), statistics(ours)
        torch.testing.assert_close(got[0], want[0], rtol=0, atol=0.1)
        torch.testing.assert_close(got[1], want[1], rtol=0.003, atol=0)
        torch.testing.assert_close(got[2], want[2], rtol=0.02, atol=0)
        # the mean of independent images: 4.5 standard errors
        spread = cpu.mean((2, 3)).std(0) * (2 / 2000)**0.5
        gap = other.mean((0, 2, 3)) - want[0]
        assert (gap.abs() < 4.5 * spread).all()
        each = [v.diff(dim=-1).square().mean((1, 2, 3))
                for v in (cpu, other)]
        spread = each[0].std() * (2 / 2000)**0.5
        assert abs(each[1].mean() - each[0].mean()) < 4.5 * spread


@pytest.mark.property
@pytest.mark.parametrize('chunk_mib', [1, 64])
def test_a_sample_does_not_depend_on_its_batch(chunk_mib):
    crops = (dict(GLOBALS, size=(96, 120)), LOCALS)
    indices = [5, 1, 8, 0, 3, 12, 6]
    together = levels(device_batch(indices, crops))
    again = levels(device_batch(indices[::-1], crops), chunk_mib=chunk_mib)
    for one, two in zip(together, again):
        assert torch.equal(one, two.flip(0))
    for place in (0, 3):
        alone = levels(device_batch([indices[place]], crops))
        for one, two in zip(together, alone):
            assert two.shape[0] == 1
            assert torch.equal(one[place], two[0])


@pytest.mark.unit
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float64])
def test_type_follows_the_buffers(dtype):
    cpu = MultiViewDataPreprocessor().to(dtype)
    ours = DeviceMultiCropPreprocessor().to(dtype)
    batch = device_batch(range(3))
    want = [cpu(dict(inputs=view.to(torch.uint8)))['inputs']
            for view in levels(batch)]
    out = ours(batch)['inputs']
    assert {view.dtype for view in out} == {dtype}
    for one, two in zip(want, out):
        assert torch.equal(one, two)


@pytest.mark.unit
def test_autocast_does_not_touch_the_levels():
    """``train_step`` prepares its data under autocast."""
    batch = device_batch(range(3))
    with torch.autocast('cpu', torch.bfloat16):
        inside = levels(batch)
    for one, two in zip(inside, levels(batch)):
        assert torch.equal(one, two)


@pytest.mark.unit
def test_nothing_is_read_from_the_device(monkeypatch):
    prepare, batch = DeviceMultiCropPreprocessor(), device_batch(range(4))

    def refuse(*args, **kwargs):
        raise AssertionError('a tensor was read on the host')

    with monkeypatch.context() as patch:
        for name in SYNCS:
            patch.setattr(torch.Tensor, name, refuse)
        with pytest.raises(AssertionError, match='read'):
            float(torch.ones(()))
        views = prepare(batch)['inputs']
    assert len(views) == 5


@pytest.mark.unit
def test_batches_of_an_evaluation_are_only_normalised():
    images = torch.randint(0, 256, (2, 3, 9, 8), dtype=torch.uint8)
    for form in (images, list(images), [images, images]):
        one, two = (kind()(dict(inputs=form))['inputs'] for kind in (
            DeviceMultiCropPreprocessor, MultiViewDataPreprocessor))
        torch.testing.assert_close(two, one, rtol=0, atol=0)


@pytest.mark.unit
def test_images_that_were_not_collated():
    data = samples(PlanMultiCrop, range(4))
    want = levels(view_collate(samples(PlanMultiCrop, range(4))))
    for one, two in zip(levels(pseudo_collate(data)), want):
        assert torch.equal(one, two)
    assert data[1]['data_samples'].view_boxes.shape == (5, 4)


@pytest.mark.unit
def test_global_views_only_and_a_large_image():
    """One large image beside small ones costs only itself."""
    crops = (dict(num=1, size=24, scale=(0.9, 1.0)), None)
    batch = device_batch([0, 1, 2], crops, ((40, 30), (900, 700), (31, 37)))
    assert batch['inputs']['pixels'].shape == (
        40 * 30 + 900 * 700 + 31 * 37, 3)
    views = levels(batch, chunk_mib=1)
    want = cpu_batch([0, 1, 2], crops, ((40, 30), (900, 700), (31, 37)))
    assert [tuple(view.shape) for view in views] == [(3, 3, 24, 24)]
    assert (views[0] - want['inputs'][0]).abs().mean() < 0.5


@pytest.mark.unit
def test_wrong_settings_and_missing_parts():
    with pytest.raises(ConfigError, match=r'global_crops.*nearest'):
        PlanMultiCrop(dict(interpolation='nearest'))
    with pytest.raises(ConfigError, match=r'local_crops.*hamming'):
        PlanMultiCrop(dict(), dict(interpolation='hamming'))
    with pytest.raises(ConfigError, match="did you mean 'size'"):
        PlanMultiCrop(dict(sizes=3))
    with pytest.raises(ConfigError, match=r'PlanMultiCrop.*KeyedDataset'):
        PlanMultiCrop(dict())(dict(img=picture()))
    with pytest.raises(ConfigError, match='chunk_mib=0'):
        DeviceMultiCropPreprocessor(chunk_mib=0)
    with pytest.raises(ConfigError, match='1 channels'):
        DeviceMultiCropPreprocessor((1.0, ), (1.0, ))
    with pytest.raises(ConfigError, match='DeviceMultiCropPreprocessor'):
        MultiViewDataPreprocessor()(device_batch(range(2)))


@pytest.mark.property
def test_workers_and_ranks_of_a_loader_change_nothing():
    def views(workers, batch):
        loader = Runner.build_dataloader(dict(
            batch_size=batch, num_workers=workers,
            sampler=dict(type='mimplug.KeyedSampler', shuffle=True),
            collate_fn=dict(type='mimplug.view_collate'),
            dataset=KeyedDataset(ArrayDataset(8), [
                dict(type='mimplug.PlanMultiCrop', global_crops=GLOBALS,
                     local_crops=LOCALS),
                dict(type='mimplug.PackViews')])), seed=3)
        prepare = MODELS.build(dict(
            type='mimplug.DeviceMultiCropPreprocessor', **LEVELS))
        found = {}
        for data in loader:
            out = prepare(data)
            for place, sample in enumerate(out['data_samples']):
                assert isinstance(sample, DataSample)
                found[sample.sample_key] = torch.cat(
                    [view[place].flatten() for view in out['inputs']])
        return found

    one, two = views(0, 8), views(2, 3)
    assert one.keys() == two.keys()
    assert len(one) == 8
    assert all(torch.equal(one[key], two[key]) for key in one)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('chunk_mib', [1, 1024])
def test_cuda_equals_cpu_and_does_not_wait(chunk_mib):
    indices = range(30)
    want = levels(device_batch(indices))
    prepare = DeviceMultiCropPreprocessor(
        **LEVELS, chunk_mib=chunk_mib).cuda()
    batch = device_batch(indices)
    batch['inputs']['pixels'] = batch['inputs']['pixels'].pin_memory()
    prepare(batch)  # the first call allocates
    torch.cuda.set_sync_debug_mode('error')
    try:
        with torch.autocast('cuda', torch.bfloat16):
            views = prepare(batch)['inputs']
    finally:
        torch.cuda.set_sync_debug_mode('default')
    for one, two in zip(want, views):
        assert two.device.type == 'cuda'
        error = (one - two.cpu()).abs()
        # whole numbers up to 2**24 are exact on both
        assert error.max() <= 12
        assert (error > 0).float().mean() < 1e-3


@pytest.mark.property
def test_sizes_of_the_toy_batches_differ():
    """The tests above would prove little on images of one size."""
    shapes = {tuple(s['inputs'].pixels.shape[:2])
              for s in samples(PlanMultiCrop, range(10))}
    assert len(shapes) == len(SIZES)
    assert np.ptp([h for h, _ in shapes]) > 20
