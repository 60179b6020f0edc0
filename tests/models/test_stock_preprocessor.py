"""The stock numbers; data samples untouched."""
from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

pytestmark = pytest.mark.unit
NORM = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 5.0, 6.0], to_rgb=True)
KINDS = {
    'SelfSupDataPreprocessor': NORM,
    'TwoNormDataPreprocessor': dict(
        NORM, second_mean=[0.0] * 3, second_std=[2.0] * 3)}


@pytest.mark.parametrize('kind', KINDS)
def test_numbers_and_samples(kind):
    images = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)
    samples = [DataSample().set_gt_label(i) for i in range(2)]
    batch = dict(inputs=[images, images.flip(0)], data_samples=samples)
    ours, stock = (MODELS.build(dict(KINDS[kind], type=scope + kind))
                   for scope in ('mimplug.', ''))
    result, wanted = ours(batch), stock(batch)
    for mine, theirs in zip(result['inputs'], wanted['inputs']):
        assert torch.equal(mine, theirs)
    # the stock class makes new ones
    assert all(a is b for a, b in zip(result['data_samples'], samples))
    assert not any(a is b for a, b in zip(wanted['data_samples'], samples))
