"""Loops in real runners: hooks, places, ends."""
from __future__ import annotations

import copy

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset
from toy_loop import (
    ENDLESS,
    EPOCHS,
    ITERS,
    KEYED,
    SHUFFLED,
    STOCK_ENDLESS,
    Events,
    Numbers,
    body,
    make_run,
    resume,
    tail,
    train,
)

from mimplug.engine import EpochTrainLoop
from mimplug.engine.loops import resumable
from mimplug.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.e2e

KEYS = {'epoch', 'iter', 'epoch_samples', 'samples', 'global_batch',
        'accumulation', 'epoch_length', 'seed', 'validated'}


@pytest.mark.parametrize('ours, stock, sampler', [
    (EPOCHS, dict(by_epoch=True, max_epochs=3), SHUFFLED),
    (EPOCHS, dict(by_epoch=True, max_epochs=3), KEYED),
    (ITERS, dict(by_epoch=False, max_iters=13), STOCK_ENDLESS),
    (ITERS, dict(by_epoch=False, max_iters=13), ENDLESS),
])
@pytest.mark.parametrize('more', [
    {}, dict(val_interval=2), dict(val_interval=1, val_begin=2,
                                   dynamic_intervals=[(2, 2)])])
def test_undisturbed_runs_are_those_of_mmengine(tmp_path, ours, stock,
                                                sampler, more):
    events = [train(tmp_path, dict(cfg, **more), sampler, size=22,
                    validate=True) for cfg in (ours, stock)]
    assert events[0].seen == events[1].seen
    assert len(events[0].keys) in (13, 15)


def runs(tmp_path, cfg, sampler, **kwargs):
    """An undisturbed run and, for each step of it, the resumed one."""
    def fresh(**more):
        return make_run(tmp_path, cfg, copy.deepcopy(sampler), **kwargs,
                        **more)

    whole = fresh()
    whole.train()
    step = kwargs.get('accumulation', 1)
    for stop in range(step, whole.iter, step):
        first = fresh(stop_at=stop)
        first.train()
        second = fresh()
        weights = first.model.state_dict()
        resume(second, first.events.positions['iter', stop], weights)
        second.train()
        yield stop, whole, first, second


@pytest.mark.parametrize('cfg, sampler, kwargs', [
    (EPOCHS, KEYED, dict(size=22)),
    (EPOCHS, KEYED, dict(size=27, accumulation=2)),
    (EPOCHS, dict(KEYED, repeats=2), dict(size=9, accumulation=2)),
    (EPOCHS, SHUFFLED, dict(size=22)),
    # groups of two straddle the borders of epochs of five
    (EPOCHS, SHUFFLED, dict(size=22, accumulation=2)),
    (ITERS, ENDLESS, dict(size=9)),
    (dict(ITERS, max_iters=11), ENDLESS, dict(size=9, accumulation=2)),
    (ITERS, STOCK_ENDLESS, dict(size=9)),
    (ITERS, KEYED, dict(size=22, accumulation=2)),
    (ITERS, SHUFFLED, dict(size=22)),
])
def test_resumed_after_any_step(tmp_path, cfg, sampler, kwargs):
    for stop, whole, first, second in runs(tmp_path, cfg, sampler, **kwargs):
        assert first.iter == stop
        assert body(second.events) == tail(whole.events, stop), stop
        assert (second.epoch, second.iter) == (whole.epoch, whole.iter)
        assert first.events.keys + second.events.keys == whole.events.keys
        assert torch.equal(second.model.layer.weight,
                           whole.model.layer.weight)
        ends = [runner.events.positions for runner in (whole, second)]
        for place, position in ends[1].items():
            assert position == ends[0][place]
            assert set(position) == KEYS
            assert all(type(value) is int for value in position.values())


@pytest.mark.parametrize('cfg, sampler', [
    (EPOCHS, SHUFFLED), (EPOCHS, KEYED), (ITERS, ENDLESS)])
@pytest.mark.parametrize('workers', [0, 2])
def test_global_generator_is_left_alone(tmp_path, cfg, sampler, workers):
    class States(Events):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            states.append(torch.get_rng_state())

    states = []
    more = dict(num_workers=workers, persistent_workers=workers > 0)
    train(tmp_path, cfg, sampler, loader=more, hooks=[States()])
    assert all(torch.equal(state, states[0]) for state in states)
    if cfg is EPOCHS and workers == 0:  # what a stock loop does
        states.clear()
        train(tmp_path, dict(by_epoch=True, max_epochs=2), sampler,
              hooks=[States()])
        assert not torch.equal(states[0], states[-1])


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('cfg, sampler', [
    (dict(EPOCHS, max_epochs=1), KEYED),
    (dict(EPOCHS, max_epochs=1), SHUFFLED),
    (ITERS, ENDLESS), (ITERS, STOCK_ENDLESS)])
def test_nothing_before_the_place_is_read(tmp_path, cfg, sampler, workers):
    data = Numbers(100_000)
    if cfg['type'].endswith('IterTrainLoop'):
        cfg = dict(cfg, max_iters=12_500)
    more = dict(num_workers=workers)
    if workers:
        more['prefetch_factor'] = 1
    runner = make_run(tmp_path, cfg, sampler, data=data, batch=8,
                      loader=more, stop_at=10_003)
    step = dict(
        epoch=0, iter=10_000, epoch_samples=80_000, samples=80_000,
        global_batch=8, accumulation=1, epoch_length=12_500)
    resume(runner, step)
    runner.train()
    assert runner.iter == 10_003
    # workers hold a batch each when the run is stopped
    assert 24 <= data.reads.value <= 24 + 8 * workers


def test_persistent_workers_start_over_with_every_epoch(tmp_path):
    def run(**more):
        return train(tmp_path, EPOCHS, loader=more)

    workers = run(num_workers=2, persistent_workers=True)
    assert workers.seen == run().seen


@pytest.mark.parametrize('shuffled', [True, False])
def test_loader_objects_and_torch_samplers(tmp_path, shuffled):
    def fresh(stop_at=None):
        return make_run(tmp_path, EPOCHS, stop_at=stop_at, loader=DataLoader(
            Numbers(10), batch_size=4, shuffle=shuffled))

    whole, first, second = fresh(), fresh(5), fresh()
    whole.train()
    first.train()
    resume(second, first.events.positions['iter', 5])
    second.train()
    assert first.events.keys + second.events.keys == whole.events.keys
    order = whole.events.keys[:6]
    assert (order[:3] == order[3:]) is not shuffled
    assert [len(batch) for batch in order] == [4, 4, 2, 4, 4, 2]


def test_checkpoints_without_a_position(tmp_path):
    whole = train(tmp_path, EPOCHS, SHUFFLED)
    for epoch, done in ((1, 7), (1, 5), (1, 10)):
        runner = make_run(tmp_path, EPOCHS, SHUFFLED)
        meta = dict(epoch=epoch, iter=done)
        runner.train_loop.restore(meta)
        assert meta == dict(epoch=epoch, iter=done)
        runner.train_loop._epoch, runner.train_loop._iter = epoch, done
        runner.train()
        assert runner.events.keys == whole.keys[done:]
        assert (runner.epoch, runner.iter) == (3, 15)
    whole = train(tmp_path, ITERS, ENDLESS)
    runner = make_run(tmp_path, ITERS, ENDLESS)
    runner.train_loop._epoch, runner.train_loop._iter = 1, 7
    runner.train()
    assert runner.events.keys == whole.keys[7:]
    assert runner.events.positions['iter', 8]['samples'] == 32
    runner = make_run(tmp_path, EPOCHS, SHUFFLED)
    runner.train_loop._epoch, runner.train_loop._iter = 1, 11
    with pytest.raises(CheckpointError, match='iteration 11'):
        runner.train()


@pytest.mark.parametrize('prefetch', [True, False])
def test_prefetch_is_an_option(tmp_path, monkeypatch, prefetch):
    asked = []
    monkeypatch.setattr(resumable, 'prefetch_to', lambda batches, device: (
        asked.append(device), batches)[1])
    train(tmp_path, dict(EPOCHS, max_epochs=2, prefetch=prefetch))
    assert asked == [torch.device('cpu')] * 2 * prefetch


def test_seed_of_the_resumed_run_is_kept(tmp_path):
    whole = train(tmp_path, EPOCHS)
    runner = make_run(tmp_path, EPOCHS)
    runner.train_loop.feed.reseed(99)
    resume(runner, whole.positions['iter', 7])
    runner.train()
    assert runner.events.keys == whole.keys[7:]
    assert runner.train_dataloader.dataset.seed == 7


class Stream(IterableDataset):

    def __init__(self, length=12, promised=12):
        self.length, self.promised = length, promised

    def __len__(self):
        return self.promised

    def __iter__(self):
        for index in range(self.length):
            yield dict(inputs=torch.tensor([float(index)]),
                       keys=torch.tensor([0, index, 0]))


def test_data_without_an_index(tmp_path):
    runner = make_run(tmp_path, EPOCHS,
                      loader=DataLoader(Stream(), batch_size=4))
    runner.train()
    assert runner.iter == 9
    at = runner.events.positions
    runner = make_run(tmp_path, EPOCHS,
                      loader=DataLoader(Stream(), batch_size=4))
    resume(runner, at['epoch', 6])
    runner.train()
    assert len(runner.events.keys) == 3
    runner = make_run(tmp_path, EPOCHS,
                      loader=DataLoader(Stream(), batch_size=4))
    resume(runner, at['iter', 5])
    with pytest.raises(ConfigError, match='cannot start in the middle'):
        runner.train()
    runner = make_run(tmp_path, EPOCHS,
                      loader=DataLoader(Stream(7), batch_size=4))
    with pytest.raises(ConfigError, match='1 iterations before the 3'):
        runner.train()


@pytest.mark.parametrize('cfg, sampler, kwargs, message', [
    (dict(EPOCHS, max_epochs=0), KEYED, {}, 'max_epochs=0'),
    (dict(EPOCHS, max_epochs=1.5), KEYED, {}, r'max_epochs=1\.5'),
    (dict(EPOCHS, max_epochs=float('inf')), KEYED, {}, 'max_epochs=inf'),
    (dict(EPOCHS, max_epochs='9'), KEYED, {}, "max_epochs='9'"),
    (dict(ITERS, max_iters=-1), ENDLESS, {}, 'max_iters=-1'),
    (dict(ITERS, max_iters=True), ENDLESS, {}, 'max_iters=True'),
    (dict(EPOCHS, val_interval=0), KEYED, {}, 'val_interval=0'),
    (dict(ITERS, val_begin=-1), ENDLESS, {}, 'val_begin=-1'),
    (dict(EPOCHS, prefetch='yes'), KEYED, {}, "prefetch='yes'"),
    (EPOCHS, ENDLESS, {}, 'KeyedInfiniteSampler has no end'),
    (EPOCHS, STOCK_ENDLESS, {}, 'InfiniteSampler has no end'),
    (EPOCHS, KEYED, dict(size=7, accumulation=2),
     r'7 samples .* step of 8 samples'),
    (EPOCHS, SHUFFLED, dict(size=3), '3 images .* batch of 4'),
])
def test_errors_at_build(tmp_path, cfg, sampler, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        assert make_run(tmp_path, cfg, sampler, **kwargs).train_loop


def test_whole_floats_are_fine(tmp_path):
    loop = make_run(tmp_path, dict(EPOCHS, max_epochs=2.0)).train_loop
    assert isinstance(loop, EpochTrainLoop)
    assert loop.max_epochs == 2
