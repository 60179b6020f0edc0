"""Random erasing: where, and what fills the rectangle on the device."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mimplug.datasets.erasing import erase_, keyed_normals
from mimplug.datasets.transforms.erase import NOTHING, EraseSpec
from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError


def keyed(index=0):
    return KeyedRandom(0, 0, index)


@pytest.mark.property
def test_erased_rectangles():
    spec = EraseSpec(prob=1.0)
    boxes = np.array([spec.draw(keyed(i), 64, 48) for i in range(3000)])
    x0, y0, x1, y1 = boxes.T
    assert boxes.min() >= 0
    assert x1.max() <= 64
    assert y1.max() <= 48
    drawn = boxes[:, 2] > 0
    assert drawn.mean() > 0.99
    share = ((x1 - x0) * (y1 - y0))[drawn] / (64 * 48)
    assert share.min() > 0.015
    assert share.max() < 0.35
    assert abs(share.mean() - (0.02 + 1 / 3) / 2) < 0.02
    never = EraseSpec(prob=0.0)
    assert all(never.draw(keyed(i), 64, 48) == NOTHING for i in range(20))
    # rectangles must be smaller than the view
    assert EraseSpec(prob=1.0, area=(1.0, 1.0)).draw(
        keyed(), 8, 8) == NOTHING


@pytest.mark.unit
def test_noise_is_normal_inside_and_nothing_changes_outside():
    sample = DataSample(metainfo=dict(
        erase_boxes=np.array([[8, 4, 40, 30], [0, 0, 0, 0]]),
        erase_seeds=np.array([5, 6])))
    mean, std = torch.full((1, 3, 1, 1), 100.0), torch.full((1, 3, 1, 1), 50.0)
    views = [torch.full((1, 3, 48, 64), 0.25) for _ in range(2)]
    erase_(views, [sample], mean, std)
    assert (views[1] == 0.25).all()
    inside = views[0][:, :, 4:30, 8:40].clone()
    noise = (inside * 50 + 100) / 255
    assert abs(noise.mean()) < 0.06
    assert abs(noise.std() - 1) < 0.06
    assert (noise[0, 0] - noise[0, 1]).abs().min() > 0
    views[0][:, :, 4:30, 8:40] = 0.25
    assert (views[0] == 0.25).all()
    with pytest.raises(ConfigError, match='2 views for 1 views'):
        erase_(views[:1], [sample], mean, std)


@pytest.mark.property
def test_keyed_normals():
    numbers = keyed_normals(torch.arange(20), 4000)
    assert abs(numbers.mean()) < 0.02
    assert abs(numbers.std() - 1) < 0.02
    assert abs((numbers.abs() < 1).float().mean() - 0.6827) < 0.01
    correlation = torch.corrcoef(numbers) - torch.eye(20)
    assert correlation.abs().max() < 0.08
    assert torch.equal(keyed_normals(torch.tensor([7]), 4000)[0], numbers[7])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_noise_on_the_device():
    """The same noise to rounding, without waiting for the device."""
    sample = DataSample(metainfo=dict(
        erase_boxes=np.array([[8, 4, 40, 30]]), erase_seeds=np.array([5])))
    results = []
    for device in ('cpu', 'cuda'):
        view = torch.zeros(1, 3, 48, 64, device=device)
        mean = torch.full((1, 3, 1, 1), 100.0, device=device)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode('error')
        try:
            erase_([view], [sample], mean, mean)
        finally:
            torch.cuda.set_sync_debug_mode('default')
        results.append(view.cpu())
    torch.testing.assert_close(*results, rtol=0, atol=1e-4)
