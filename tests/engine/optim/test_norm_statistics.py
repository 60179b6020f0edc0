"""Running statistics that a skipped step leaves alone."""
from __future__ import annotations

import pytest
import torch
from sync_detector import SyncDetector
from torch import nn

from mimplug.engine.optim import NormStatistics

pytestmark = pytest.mark.unit


def network():
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, momentum=None),
        nn.BatchNorm2d(6, track_running_stats=False))


@pytest.mark.parametrize('finite', [True, False])
def test_all_or_nothing(finite):
    model = network()
    kept = NormStatistics(model)
    assert len(kept) == 6
    before = {name: value.clone() for name, value in model.named_buffers()}
    flag = torch.tensor(finite)
    with SyncDetector() as waits:
        waits.on = True
        kept.keep()
        waits.on = False
        model(torch.randn(2, 3, 4, 4))
        moved = {name: value.clone()
                 for name, value in model.named_buffers()}
        waits.on = True
        kept.settle(flag)
    assert not waits.found
    want = moved if finite else before
    for name, value in model.named_buffers():
        assert torch.equal(value, want[name])
        assert not torch.equal(moved[name], before[name])


def test_nan_is_forgotten_and_nothing_is_kept_twice():
    model = network()
    kept = NormStatistics(model)
    kept.keep()
    model(torch.full((2, 3, 4, 4), torch.nan))
    kept.settle(torch.tensor(False))
    assert model[1].running_mean.equal(torch.zeros(4))
    # without a step in between there is nothing to go back to
    model(torch.randn(2, 3, 4, 4))
    moved = model[1].running_mean.clone()
    kept.settle(torch.tensor(False))
    assert torch.equal(model[1].running_mean, moved)


def test_networks_without_norms():
    kept = NormStatistics(nn.Linear(2, 2))
    kept.keep()
    kept.settle(torch.tensor(False))
    assert len(kept) == 0
