"""Stored maps, cut as the views are."""
from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mimplug.errors import ConfigError
from mimplug.models.targets import CachedSaliency, SaliencyWriter
from mimplug.models.targets.cached_saliency import crop_maps

pytestmark = pytest.mark.unit
IMAGES = torch.zeros(2, 3, 8, 8)


def write(folder, count=3, size=16):
    """Map n rises from left to right, and more steeply down."""
    about = dict(saliency=dict(type='mimplug.X', supervised=True))
    writer = SaliencyWriter(folder, count, size, about)
    place = (torch.arange(size) + 0.5) / size
    ramp = place[None] / 3 + 2 * place[:, None] / 3
    for index in range(count):
        writer.write([index], (index + 1) * ramp[None])
    return writer


def sample(index, boxes, flips, shape=(100, 200)):
    return DataSample(metainfo=dict(
        sample_idx=index, ori_shape=shape, view_flips=np.array(flips),
        view_boxes=np.array(boxes, np.float32)))


def test_views_get_what_they_show(tmp_path):
    write(tmp_path).close()
    target = MODELS.build(dict(
        type='mimplug.CachedSaliency', folder=str(tmp_path), size=4,
        num_images=3))
    whole, part = [0, 0, 200, 100], [50, 50, 150, 100]
    samples = [sample(2, [whole, part], [False, True]),
               sample(0, [part, whole], [False, False])]
    got = copy.deepcopy(target)(IMAGES, samples, view=1)
    assert got.shape == (2, 4, 4)
    assert got.dtype == torch.float32
    place = (torch.arange(4) + 0.5) / 4
    scale = 1 / (31 / 32)  # the largest value became 1
    # mirrored: from 0.75 back to 0.25 of the width; lower half
    wanted = ((0.75 - 0.5 * place)[None] / 3
              + 2 * (0.5 + 0.5 * place)[:, None] / 3) * scale
    torch.testing.assert_close(got[0], wanted, atol=2e-3, rtol=0)
    other = (place[None] / 3 + 2 * place[:, None] / 3) * scale
    torch.testing.assert_close(got[1], other, atol=2e-3, rtol=0)
    record = target.record
    assert record['supervised'] is True
    assert record['made_by']['type'] == 'mimplug.X'


@pytest.mark.property
def test_a_mirrored_view_has_the_mirrored_map():
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(6, 9, 9, generator=generator)
    low = torch.rand(6, 2, generator=generator) * 0.6
    boxes = torch.cat([low, low + 0.1 + 0.3 * torch.rand(
        6, 2, generator=generator)], dim=1)
    flips = torch.tensor([True] * 6)
    plain = crop_maps(maps, boxes, ~flips, 5)
    assert torch.equal(crop_maps(maps, boxes, flips, 5).flip(-1), plain)
    # images do not see each other
    alone = crop_maps(maps[2:3], boxes[2:3], ~flips[2:3], 5)
    assert torch.equal(alone[0], plain[2])


def test_what_is_missing_is_said_at_build(tmp_path):
    with pytest.raises(ConfigError, match='no such folder; make it by'):
        CachedSaliency(str(tmp_path / 'none'))
    writer = write(tmp_path)
    with pytest.raises(ConfigError, match=r'no about\.json'):
        CachedSaliency(str(tmp_path))
    writer.close()
    with pytest.raises(ConfigError, match=r'maps of 3 images.* has 4'):
        CachedSaliency(str(tmp_path), num_images=4)
    (tmp_path / 'maps.npy').unlink()
    with pytest.raises(ConfigError, match=r'no maps\.npy'):
        CachedSaliency(str(tmp_path))
    with pytest.raises(ConfigError, match='size=0'):
        CachedSaliency(str(tmp_path), size=0)


def test_an_unfinished_folder_is_never_declared_finished(tmp_path):
    writer = SaliencyWriter(tmp_path, 3, 4, dict(saliency={}))
    writer.write([0, 2], torch.ones(2, 4, 4))
    with pytest.raises(ConfigError, match=r'1 of 3 images .* number 1'):
        writer.close()


def test_maps_fit_into_half_precision(tmp_path):
    writer = SaliencyWriter(tmp_path, 1, 4, dict(saliency={}))
    writer.write([0], torch.full((1, 8, 8), 1e6))
    writer.close()
    assert np.array_equal(np.load(tmp_path / 'maps.npy'),
                          np.ones((1, 4, 4), np.float16))


def test_samples_that_do_not_say_enough(tmp_path):
    write(tmp_path).close()
    target = CachedSaliency(str(tmp_path))
    box = [[0, 0, 9, 9]]
    for samples in (None, [DataSample()]):
        with pytest.raises(ConfigError, match='sample_idx'):
            target(IMAGES, samples)
    with pytest.raises(ConfigError, match='view 1: the samples have 1'):
        target(IMAGES, [sample(0, box, [False])], view=1)
    with pytest.raises(ConfigError, match='another data set'):
        target(IMAGES, [sample(3, box, [False])])
