"""Ends of epochs, of optimiser steps and of runs."""
from __future__ import annotations

import pytest
from toy_loop import (
    ENDLESS,
    EPOCHS,
    ITERS,
    Events,
    body,
    make_run,
    resume,
    train,
)

pytestmark = pytest.mark.e2e


def test_epochs_are_whole_steps(tmp_path):
    runner = make_run(tmp_path, EPOCHS, size=27, accumulation=2)
    loop = runner.train_loop
    assert (len(loop.dataloader), loop.max_iters) == (6, 18)
    runner.train()
    at = runner.events.positions
    assert at['iter', 3] == dict(
        epoch=0, iter=3, epoch_samples=12, samples=12, global_batch=4,
        accumulation=2, epoch_length=6, seed=7, validated=0)
    # all samples are done, the hooks of the end of the epoch are not
    assert at['iter', 6]['epoch'] == 0
    assert at['iter', 6]['epoch_samples'] == 24
    assert at['epoch', 6]['epoch'] == 1
    assert at['epoch', 6]['epoch_samples'] == 0
    assert at['iter', 8]['samples'] == 32


def test_batches_straddle_epochs_without_a_gap(tmp_path):
    keys = [tuple(key) for batch in train(
        tmp_path, ITERS, ENDLESS, size=9).keys for key in batch]
    assert len(keys) == 52
    for epoch in range(5):
        part = keys[9 * epoch:9 * epoch + 9]
        assert {key[0] for key in part} == {epoch}
        assert sorted(key[1] for key in part) == list(range(9)) or epoch == 5


@pytest.mark.parametrize('moment, event, expected', [
    # killed in the validation: it is due
    ('epoch', 10, ['val', 'after_train_epoch', 'after_train']),
    # saved after the best validation so far: it is done
    ('val', 10, ['after_train_epoch', 'after_train']),
    # the hooks of the epoch's end were not run
    ('iter', 10, ['after_train_epoch', 'val', 'after_train_epoch',
                  'after_train']),
    # no validation after epoch 1
    ('epoch', 5, ['after_train_epoch', 'val', 'after_train_epoch',
                  'after_train']),
    # after the very end
    ('epoch', 15, ['after_train']),
    ('iter', 15, ['after_train_epoch', 'after_train']),
])
def test_resumed_at_the_border_of_epochs(tmp_path, moment, event, expected):
    cfg = dict(EPOCHS, val_interval=2)
    if event != 15:  # else the last epoch is validated, too
        expected = [*expected[:-1], 'val', expected[-1]]
    else:
        expected = [*expected[:-1], 'val', 'after_train']
    whole = train(tmp_path, cfg, validate=True)
    runner = make_run(tmp_path, cfg, validate=True)
    resume(runner, whole.positions[moment, event])
    runner.train()
    assert [name for name, *_ in body(runner.events)
            if name != 'iter'] == expected
    assert len(runner.events.keys) == 15 - event
    assert (runner.epoch, runner.iter) == (3, 15)


@pytest.mark.parametrize('moment, validated', [('iter', [8, 12, 13]),
                                               ('val', [12, 13])])
def test_validation_of_iterations_is_made_up_for(tmp_path, moment, validated):
    cfg = dict(ITERS, val_interval=4)
    whole = train(tmp_path, cfg, ENDLESS, validate=True)
    runner = make_run(tmp_path, cfg, ENDLESS, validate=True)
    resume(runner, whole.positions[moment, 8])
    runner.train()
    assert [event[2] for event in runner.events.seen
            if event[0] == 'val'] == validated
    assert runner.events.keys == whole.keys[8:]


def test_stop_is_honoured_after_every_iteration(tmp_path):
    events = train(tmp_path, EPOCHS, stop_at=7, validate=True)
    names = [event[0] for event in events.seen]
    assert names[-3:] == ['iter', 'iter', 'after_train']
    assert len(events.keys) == 7
    # at its end the epoch is complete
    events = train(tmp_path, EPOCHS, stop_at=10, validate=True)
    names = [event[0] for event in events.seen]
    assert names[-4:] == ['iter', 'after_train_epoch', 'val', 'after_train']
    assert len(train(tmp_path, ITERS, ENDLESS, stop_at=7).keys) == 7


def test_end_of_optimiser_steps(tmp_path):
    class Boundary(Events):

        def after_train_iter(self, runner, batch_idx, **kwargs):
            at.append(runner.train_loop.at_boundary)

    at = []
    train(tmp_path, dict(ITERS, max_iters=7), ENDLESS, accumulation=3,
          hooks=[Boundary()])
    assert at == [False, False, True, False, False, True, True]
