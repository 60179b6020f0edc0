"""Packing: views or one image, labels, meta information."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_images import picture

from mimplug.datasets import PackViews

pytestmark = pytest.mark.unit


def test_views_and_their_geometry():
    views = [torch.zeros(3, 4, 4, dtype=torch.uint8)] * 2
    packed = PackViews(meta_keys=('extra',))(dict(
        views=views, view_boxes=np.ones((2, 4), np.float32),
        view_flips=np.array([True, False]), num_globals=1, gt_label=3,
        sample_key=(1, 2, 0), ori_shape=(9, 8), extra='kept', other='not'))
    sample = packed['data_samples']
    assert packed['inputs'] is views
    assert sample.gt_label.tolist() == [3]
    assert sample.sample_key == (1, 2, 0)
    assert sample.view_boxes.shape == (2, 4)
    assert (sample.num_globals, sample.extra) == (1, 'kept')
    assert sample.ori_shape == (9, 8)
    assert 'other' not in sample


def test_one_image_without_geometry_is_the_whole_image():
    image = picture(12, 10)
    packed = PackViews()(dict(img=image, gt_label=np.array(2)))
    assert torch.equal(packed['inputs'],
                       torch.from_numpy(image).permute(2, 0, 1))
    sample = packed['data_samples']
    assert sample.view_boxes.tolist() == [[0, 0, 12, 10]]
    assert sample.num_globals == 1
    assert sample.gt_label.tolist() == [2]
    assert 'gt_label' not in PackViews()(dict(img=image))['data_samples']
