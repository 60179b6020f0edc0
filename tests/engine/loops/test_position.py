"""What a checkpoint keeps of a loop."""
from __future__ import annotations

from types import SimpleNamespace

import pytest

from mimplug.engine.loops import (
    Position,
    accumulation_of,
    data_epoch,
    data_epochs,
)
from mimplug.errors import CheckpointError

pytestmark = pytest.mark.unit

SAVED = dict(epoch=1, iter=7, epoch_samples=8, samples=28, global_batch=4,
             accumulation=1, epoch_length=5)


def test_round_trip():
    position = Position.parse(SAVED)
    assert position.as_dict() == dict(SAVED, seed=-1, validated=0)
    assert Position.parse(dict(position.as_dict(), later=1)) == position
    assert position.same_units(Position(global_batch=4))
    assert not position.same_units(Position(global_batch=4, accumulation=2))


@pytest.mark.parametrize('change, message', [
    (dict(iter=-1), 'iter=-1'), (dict(samples=2.5), r'samples=2\.5'),
    (dict(epoch='1'), "epoch='1'"), (dict(seed=-2), 'seed=-2')])
def test_damaged_positions(change, message):
    with pytest.raises(CheckpointError, match=message):
        Position.parse(dict(SAVED, **change))


def test_missing_names():
    saved = dict(SAVED)
    del saved['samples'], saved['epoch']
    with pytest.raises(CheckpointError, match='lacks epoch, samples'):
        Position.parse(saved)


@pytest.mark.parametrize('wrapper, counts', [
    (None, 1), ({}, 1), (dict(accumulative_counts=4), 4),
    (dict(constructor='two', generator=dict(optimizer={}),
          critic=dict(optimizer={}, accumulative_counts=3)), 3),
    (dict(paramwise_cfg=dict(accumulative_counts=5)), 1),
    (SimpleNamespace(_accumulative_counts=2), 2),
    (SimpleNamespace(optim_wrappers=dict(
        a=SimpleNamespace(_accumulative_counts=2),
        b=SimpleNamespace(_accumulative_counts=3))), 6),
])
def test_accumulation(wrapper, counts):
    assert accumulation_of(wrapper) == counts


def test_epochs_of_a_loop_that_is_not_ours():
    runner = SimpleNamespace(iter=11, max_iters=12, train_dataloader=range(5))
    assert (data_epoch(runner), data_epochs(runner)) == (2, 3)
    runner.train_loop = SimpleNamespace(data_epoch=7, data_epochs=9)
    assert (data_epoch(runner), data_epochs(runner)) == (7, 9)
