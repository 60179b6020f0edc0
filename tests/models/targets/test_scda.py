"""SCDA: which cells of a feature map are the object."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from mimplug.models.targets import (
    largest_component,
    scda_foreground,
    scda_map,
)


@pytest.mark.golden('saliency_moco', 'saliency')
def test_released_and_intended_foreground(golden):
    features = golden.tensor('feats').flatten(0, 1)
    saliency = scda_map(features)
    want = golden.tensor('saliency').flatten(0, 1)
    torch.testing.assert_close(saliency, want, rtol=1e-5, atol=1e-5)
    for name, options in (
            ('fg_intended', {}), ('fg_released', {'row_sort_compat': True}),
            ('fg_scda_mean_lcc8', {'num_stds': 0.0, 'keep_largest': True})):
        want = golden.tensor(name, torch.bool).view(-1, 7, 7)
        assert torch.equal(scda_foreground(want_of(golden), **options), want)


def want_of(golden):
    """The stored sums, so that thresholds meet the same numbers."""
    return golden.tensor('saliency').flatten(0, 1)


@pytest.mark.property
@pytest.mark.parametrize('shape', [(7, 7), (1, 9), (6, 11)])
def test_largest_component_equals_scipys(shape):
    rng = np.random.default_rng(0)
    cells = rng.random((60, *shape)) < 0.45
    got = largest_component(torch.from_numpy(cells)).numpy()
    for one, found in zip(cells, got):
        labels, number = ndimage.label(one, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())[1:]
        assert found.sum() == (sizes.max() if number else 0)
        assert not (found & ~one).any()
        # one whole component and nothing else
        assert len(np.unique(labels[found])) == (1 if number else 0)


@pytest.mark.property
def test_a_long_winding_component_is_not_cut():
    snake = np.ones((9, 9), bool)
    snake[1::4, :-1] = snake[3::4, 1:] = False
    got = largest_component(torch.from_numpy(snake)[None])[0].numpy()
    assert np.array_equal(got, snake)


@pytest.mark.property
def test_images_do_not_see_each_other_and_equal_cells_are_foreground():
    saliency = torch.rand(4, 5, 6, generator=torch.Generator().manual_seed(0))
    whole = scda_foreground(saliency, keep_largest=True)
    for row in range(4):
        alone = scda_foreground(saliency[row:row + 1], keep_largest=True)
        assert torch.equal(alone[0], whole[row])
    assert scda_foreground(torch.full((1, 7, 7), 0.1), num_stds=0.0).all()
    half = scda_map(torch.full((1, 512, 2, 2), 0.1, dtype=torch.bfloat16))
    assert half.dtype == torch.float32


@pytest.mark.unit
def test_a_larger_share_of_deviations_adds_cells():
    saliency = torch.rand(3, 7, 7, generator=torch.Generator().manual_seed(1))
    strict = scda_foreground(saliency, num_stds=0.0)
    loose = scda_foreground(saliency, num_stds=0.6)
    assert (loose | ~strict).all()
    assert loose.sum() > strict.sum()
