"""Cut-outs on photographs: masks, boxes, classes, determinism."""
from __future__ import annotations

import re

import numpy as np
import pytest
from torch.utils.data import DataLoader
from toy_sources import COLOURS

from mimplug.datasets import Composites, KeyedDataset, KeyedSampler
from mimplug.errors import AssetError, ConfigError


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[key], other[key]) for key in one)


def colour(info: dict, label: int) -> np.ndarray:
    """How much more of the colour of a class a pixel has, of 250."""
    image = info['img'].astype(int)
    channel = COLOURS[('green', 'red')[label]].index(250)
    return image[..., channel] - image[..., 1 - channel]


@pytest.mark.property
def test_a_mask_is_where_the_object_covers_half_of_the_pixel(make):
    dataset = make(num_objects=(1, 1), num_samples=25)
    assert dataset.metainfo['classes'] == ('green', 'red')
    for info in map(dataset.get_data_info, range(25)):
        assert info['img'].shape == (info['height'], info['width'], 3)
        assert min(info['img'].shape[:2]) >= 40
        assert max(info['img'].shape[:2]) <= 64
        covered = colour(info, info['gt_label']) - 250 * 127.5 / 255
        sure = np.abs(covered) > 8
        assert np.array_equal(info['gt_masks'][0][sure], covered[sure] > 0)
        assert info['gt_masks'][0].any()


@pytest.mark.property
def test_later_objects_hide_earlier_ones(make):
    found, pixels = set(), np.zeros(2)
    for split in ('train', 'test'):
        dataset = make(split=split, num_samples=25)
        for info in map(dataset.get_data_info, range(25)):
            for label in (0, 1):
                pure = colour(info, label) > 235
                mask = info['gt_seg_map'] == label + 1
                # parts of instances that were left out are background
                assert not pure[info['foreground'] & ~mask].any()
                pixels += [pure.sum(), mask.sum()]
            assert np.array_equal(info['foreground'], info['gt_seg_map'] > 0)
            assert (info['gt_masks'].sum(0) <= 1).all()
            found.add(len(info['instances']))
    assert {1, 2, 3} <= found
    assert pixels[0] > 0.75 * pixels[1]


@pytest.mark.property
def test_boxes_areas_and_labels_follow_from_the_masks(make):
    dataset = make(num_samples=20)
    for info in map(dataset.get_data_info, range(20)):
        areas = []
        for mask, instance in zip(info['gt_masks'], info['instances']):
            rows, columns = np.nonzero(mask)
            assert instance['bbox'] == [
                columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert instance['area'] == mask.sum() >= 16
            label = instance['bbox_label']
            assert (info['gt_seg_map'][mask] == label + 1).all()
            areas.append((mask.sum(), label))
        assert info['gt_label'] in {
            label for area, label in areas if area == max(areas)[0]}


@pytest.mark.property
def test_a_sample_is_a_function_of_its_number(make):
    dataset = make(num_samples=5)
    forward = [dataset.get_data_info(i) for i in range(5)]
    again = make(num_samples=9, lazy_init=True)
    for number in (4, 0, 2):
        assert same(again.get_data_info(number), forward[number])
    picked = make(num_samples=5, indices=[3, 1])
    assert [picked.get_data_info(i)['img_id'] for i in range(2)] == [3, 1]
    assert np.array_equal(
        picked.get_data_info(0)['img'], forward[3]['img'])
    pictures = [info['img'] for info in forward]
    for other in (make(num_samples=5, seed=1), make(num_samples=5,
                                                    split='test')):
        assert not any(np.array_equal(other.get_data_info(i)['img'],
                                      pictures[i]) for i in range(5))
    assert not np.array_equal(pictures[0], pictures[1])
    # what a caller does to a sample stays with the caller
    forward[0]['img'][:] = 0
    assert dataset.get_data_info(0)['img'].any()


@pytest.mark.unit
def test_workers_do_not_matter(make):
    def run(workers):
        dataset = KeyedDataset(make(), pipeline=[
            dict(type='mimplug.LoadView'), dict(type='mimplug.PackViews')])
        loader = DataLoader(
            dataset, batch_size=1, num_workers=workers,
            sampler=KeyedSampler(dataset, shuffle=True, seed=3),
            collate_fn=lambda batch: batch[0])
        return [(sample['inputs'].numpy(),
                 int(sample['data_samples'].gt_label)) for sample in loader]

    alone, two = run(0), run(2)
    assert len(alone) == 6
    for (image, label), (other, other_label) in zip(alone, two):
        assert np.array_equal(image, other)
        assert label == other_label


@pytest.mark.unit
def test_objects_that_are_hidden_are_no_instances(make):
    crowded = make(num_objects=(9, 9), num_samples=12, size=(40, 40))
    numbers = [len(crowded.get_data_info(i)['instances']) for i in range(12)]
    assert min(numbers) < 9
    empty = make(num_objects=(0, 0)).get_data_info(0)
    assert empty['gt_label'] == -1
    assert empty['instances'] == []
    assert not empty['foreground'].any()


@pytest.mark.unit
@pytest.mark.parametrize('wrong, message', [
    (dict(split='val'), "split='val': allowed: train, test"),
    (dict(size=(60, 40)), r'size=\(60, 40\)'),
    (dict(num_objects=(-1, 2)), 'num_objects'),
    (dict(object_size=(0, 2)), 'object_size'),
    (dict(min_visible=0), 'min_visible=0'),
    (dict(num_samples=0), 'num_samples=0'),
    (dict(test_share=1.0), 'test_share=1.0'),
])
def test_bad_settings_are_refused_at_build(make, wrong, message):
    with pytest.raises(ConfigError, match=message):
        make(**wrong)


@pytest.mark.unit
def test_bad_sources_are_refused_at_build(sources, tmp_path, monkeypatch):
    cutouts, photos = sources
    with pytest.raises(ConfigError, match='no such folder'):
        Composites(str(tmp_path / 'none'), photos)
    with pytest.raises(ConfigError, match='no image below it'):
        Composites(cutouts, str(tmp_path))
    with pytest.raises(ConfigError, match='no transparent pixel'):
        Composites(photos, photos)
    monkeypatch.setenv('MIMPLUG_ASSETS', str(tmp_path))
    with pytest.raises(AssetError, match=r'fetch_assets\.py tuxpaint-stamps'):
        Composites()


@pytest.mark.asset('tuxpaint-stamps')
@pytest.mark.asset('mvtb-data')
@pytest.mark.unit
def test_the_real_sources():
    sides = [Composites(split=split, num_samples=30)
             for split in ('train', 'test')]
    classes = ('animals', 'food', 'household', 'plants', 'vehicles')
    assert sides[0].metainfo['classes'] == classes
    assert sum(len(side.cutouts) for side in sides) == 265
    assert sum(len(side.backgrounds) for side in sides) == 41
    for names in (
            [{re.sub(r'\d', '', one.name) for one in side.backgrounds}
             for side in sides],
            [{one.path for one in side.cutouts} for side in sides]):
        assert not names[0] & names[1]
    assert {one.category for one in sides[1].cutouts} == set(classes)
    infos = [sides[1].get_data_info(i) for i in range(30)]
    share = np.mean([info['foreground'].mean() for info in infos])
    assert 0.05 < share < 0.35
    assert all(256 <= side <= 320 for info in infos
               for side in info['img'].shape[:2])
