"""What is drawn for a batch is what the CPU pipeline draws for a sample."""
from __future__ import annotations

import math

import numpy as np
import pytest
from toy_device import GLOBALS, LOCALS, cpu_batch, device_batch, sample_boxes

from mimplug.datasets import CropSpec, MultiCrop
from mimplug.datasets.device import CropPlan
from mimplug.datasets.device.draws import ViewDraws
from mimplug.datasets.device.plan import BLENDS
from mimplug.draws import KeyedRandom

# height, width: usual ones, and some in which few boxes or none fit
SIZES = ((375, 500), (500, 333), (47, 61), (1, 9), (120, 8), (3, 3), (1, 1))


def as_params(row):
    """A row of the table in the words of ``ViewParams``."""
    stages = [(BLENDS[int(row[f'blend{stage}'])], row[f'factor{stage}'])
              if row[f'blend{stage}'] else None for stage in range(6)]
    hue = ('hue', row['hue']) if row['hue'] >= 0 else None
    jitter = [step for step in (*stages[:3], hue, *stages[3:]) if step]
    x0, y0 = int(row['left']), int(row['top'])
    return dict(
        box=(x0, y0, x0 + int(row['width']), y0 + int(row['height'])),
        flip=bool(row['flip']), gray=bool(row['gray']),
        jitter=jitter,
        blur_radius=float(row['radius']),
        solarize_threshold=None if row['threshold'] == 256
        else int(row['threshold']))


def expected(params):
    """``ViewParams`` with the hue as a shift of 8-bit values."""
    jitter = [(name, int(factor * 255) % 256 if name == 'hue' else factor)
              for name, factor in params.jitter]
    return {**vars(params), 'jitter': jitter}


@pytest.mark.property
@pytest.mark.parametrize('first, second', [
    (dict(blur_prob=(1.0, 0.1), solarize_prob=(0.0, 0.2)),
     dict(num=3, scale=(0.05, 0.25))),
    (dict(num=1, size=(20, 30), scale=(0.6, 1.0), ratio=(0.2, 0.4)),
     dict(num=2, jitter=(0.0, 1.4, 0.0, 0.5), jitter_prob=1.0,
          solarize_prob=0.5, solarize_threshold=90))])
def test_every_number_is_that_of_the_cpu_pipeline(first, second):
    specs = [CropSpec(**first), CropSpec(**second)]
    randoms = [KeyedRandom(3, index % 4, index, index % 2)
               for index in range(140)]
    sizes = np.array([SIZES[i % len(SIZES)] for i in range(140)])
    keys = np.array([random.image_key for random in randoms], np.uint64)
    groups = CropPlan(specs).draw(keys, sizes)
    view = 0
    for spec, group in zip(specs, groups):
        assert group.shape == spec.shape
        rows = group.rows.reshape(spec.num, 140)
        for place in range(spec.num):
            for index, random in enumerate(randoms):
                height, width = sizes[index].tolist()
                params = spec.draw(
                    random.for_view(view), width, height, place)
                assert as_params(rows[place, index]) == expected(params)
            view += 1


@pytest.mark.unit
def test_draws_are_those_of_keyed_random():
    randoms = [KeyedRandom(5, 1, index) for index in range(6)]
    draws = ViewDraws(
        np.array([r.image_key for r in randoms], np.uint64), (2, 0))
    rows = [r.for_view(view) for view in (2, 0) for r in randoms]
    assert len(draws) == len(rows) == 12
    assert draws.uniform('a', 2, 5, n=3).tolist() == [
        row.uniform('a', 2, 5, n=3) for row in rows]
    assert draws.integers('b', np.full(12, 7)).tolist() == [
        row.integers('b', 0, 7) for row in rows]
    assert draws.permutation('c', 5).tolist() == [
        row.permutation('c', 5) for row in rows]
    where = np.array([1, 8])
    assert draws.uniform('a', where=where).tolist() == [
        rows[place].uniform('a') for place in where]


@pytest.mark.property
def test_boxes_and_flips_of_the_data_samples():
    indices = range(40)
    for one, two in zip(cpu_batch(indices)['data_samples'],
                        device_batch(indices)['data_samples']):
        assert sample_boxes(one) == sample_boxes(two)
        assert one.view_boxes.dtype == two.view_boxes.dtype
        assert one.metainfo.keys() == two.metainfo.keys()
        assert (two.num_globals, two.sample_key) == (2, one.sample_key)


def contrast_is_last(rows):
    """Whether contrast is a row's last blend and comes after the hue."""
    later = np.stack([rows[f'blend{stage}'] for stage in (3, 4, 5)], axis=1)
    count = (later > 0).sum(1)
    last = later[np.arange(len(later)), np.maximum(count - 1, 0)]
    return (count > 0) & (last == 2)


@pytest.mark.property
def test_frequencies_over_many_samples():
    """Published probabilities, with the spread of 2,500 samples."""
    count, transform = 2500, MultiCrop(GLOBALS, LOCALS)
    keys = np.array([KeyedRandom(1, 0, index).image_key
                     for index in range(count)], np.uint64)
    plan = CropPlan([transform.global_crops, transform.local_crops])
    for group, blur, solarize in zip(
            plan.draw(keys, np.full((count, 2), (375, 500))),
            ((1.0, 0.1), (0.5,) * 3), ((0.0, 0.2), (0.0,) * 3)):
        rows = group.rows.reshape(group.num_views, count)
        blends = np.stack([rows[f'blend{stage}'] for stage in range(6)])
        for view in range(group.num_views):
            shares = [
                (rows['flip'][view], 0.5), (rows['gray'][view], 0.2),
                (rows['radius'][view] > 0, blur[view]),
                (rows['threshold'][view] < 256, solarize[view]),
                (rows['hue'][view] >= 0, 0.8),
                ((blends[:, view] > 0).sum(0) == 3, 0.8),
                # the hue comes first, contrast comes last
                ((rows['hue'][view] >= 0) & (blends[0, view] == 0), 0.2),
                (contrast_is_last(rows[view]), 0.2)]
            for happened, p in shares:
                spread = 4 * math.sqrt(p * (1 - p) / count) + 1e-9
                assert abs(happened.mean() - p) < spread
