"""Places in the data, for any number of processes and any batch."""
from __future__ import annotations

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace

import pytest
from mmengine.dataset import DefaultSampler, InfiniteSampler
from torch.utils.data import BatchSampler, DataLoader
from toy_loop import Numbers

from mimplug.datasets import KeyedInfiniteSampler, KeyedSampler, samplers
from mimplug.engine.loops import EpochTrainLoop, IterTrainLoop, Position, feed
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


class Pairs(BatchSampler):
    """A batch sampler of its own, e.g. of equal shapes."""


@pytest.fixture
def feeds(monkeypatch):
    """The feeds of all ranks of a world."""

    def build(world, kind, *, size=50, batch=4, accumulation=1, group=None,
              drop_last=True, **kwargs):
        made = []
        for rank in range(world):
            for place in (samplers, feed):
                monkeypatch.setattr(place, 'get_dist_info',
                                    lambda rank=rank: (rank, world))
            sampler = kind(Numbers(size), seed=5, **kwargs)
            if kind in (DefaultSampler, InfiniteSampler):
                sampler.rank, sampler.world_size = rank, world
                if kind is DefaultSampler:
                    sampler.num_samples = -(-size // world)
                    sampler.total_size = sampler.num_samples * world
            batches = (group or BatchSampler)(sampler, batch, drop_last)
            loader = DataLoader(sampler.dataset, batch_sampler=batches,
                                collate_fn=list)
            made.append(feed.make_feed(
                loader, accumulation=accumulation, seed=3))
        return made

    return build


def read(parts, epoch, samples, count=None):
    """Indices of the next global batches, in the order of one process."""
    batches = []
    for step in zip(*(islice(part.start(epoch, samples), count)
                      for part in parts)):
        ranks = [[tuple(item['keys'].tolist()) for item in batch]
                 for batch in step]
        batches.append([key for row in zip(*ranks) for key in row])
    return batches


def flat(batches):
    """All keys of some batches."""
    return [key for batch in batches for key in batch]


@pytest.mark.property
@pytest.mark.parametrize('kind, kwargs', [
    (KeyedSampler, {}), (KeyedSampler, dict(repeats=2)),
    (KeyedInfiniteSampler, {}), (DefaultSampler, {}), (InfiniteSampler, {})])
@pytest.mark.parametrize('world, batch', [(2, 4), (4, 2), (8, 1)])
def test_other_worlds_read_the_same_batches(feeds, kind, kwargs, world,
                                            batch):
    # batches of a stock sampler without end are counted from its start
    epoch = 0 if kind is InfiniteSampler else 1
    whole = read(feeds(1, kind, batch=8, **kwargs), epoch, 0, 6)
    assert len(whole) == 6
    for done in range(6):
        parts = feeds(world, kind, batch=batch, **kwargs)
        assert read(parts, epoch, 8 * done, 6 - done) == whole[done:]


@pytest.mark.property
@pytest.mark.parametrize('kind', [KeyedSampler, KeyedInfiniteSampler])
@pytest.mark.parametrize('world, batch', [(1, 3), (2, 5), (3, 2)])
def test_other_batches_go_on_at_the_same_sample(feeds, kind, world, batch):
    order = flat(read(feeds(1, kind, batch=1), 0, 0, 50))
    for done in (0, 1, 8, 40, 47, 50):
        rest = flat(read(feeds(world, kind, batch=batch), 0, done, 50))
        length = min(len(rest), 50 - done)
        assert rest[:length] == order[done:done + length]
        if kind is KeyedSampler:  # a whole number of batches
            step = world * batch
            assert len(rest) == (50 - done) // step * step


def test_epochs_of_steps_do_not_depend_on_the_world(feeds):
    lengths = [
        len(part.loader) // accumulation
        for world, batch, accumulation in (
            (1, 8, 1), (2, 4, 1), (1, 4, 2), (2, 2, 2), (1, 1, 8))
        for part in feeds(world, KeyedSampler, size=45, batch=batch,
                          accumulation=accumulation)]
    assert set(lengths) == {5}
    ranks = feeds(4, KeyedSampler, size=47, batch=1, tail='keep')
    assert {len(part.loader) for part in ranks} == {11}
    ranks = feeds(4, KeyedSampler, size=47, batch=4, tail='pad')
    assert {len(part.loader) for part in ranks} == {3}
    assert {part.left(32) for part in ranks} == {1}


@pytest.mark.parametrize('kind', [DefaultSampler, KeyedSampler])
def test_batch_samplers_of_others_are_skipped_batch_by_batch(feeds, kind):
    whole = read(feeds(1, kind, group=Pairs), 2, 0)
    [part] = feeds(1, kind, group=Pairs)
    assert read([part], 2, 20) == whole[5:]
    assert read([part], 2, 0) == whole  # and the next pass is a whole one
    assert part.loader.batch_sampler.batch_size == 4
    assert len(part.loader) == 12
    [endless] = feeds(1, InfiniteSampler, group=Pairs)
    again = read([endless], 0, 40, 3)
    assert again == read(feeds(1, InfiniteSampler), 0, 40, 3)


def test_a_second_loop_takes_over_a_loader(feeds):
    [part] = feeds(1, DefaultSampler)
    again = feed.make_feed(part.loader, accumulation=1, seed=3)
    assert again.loader.batch_sampler is part.stream
    assert read([again], 0, 8) == read([part], 0, 8)


@pytest.mark.parametrize('kind', [KeyedSampler, DefaultSampler])
def test_short_last_batches(feeds, kind):
    [part] = feeds(1, kind, drop_last=False, size=10)
    batches = read([part], 0, 0)
    # whole optimiser steps only, for a keyed sampler
    expected = [4, 4] if kind is KeyedSampler else [4, 4, 2]
    assert [len(batch) for batch in batches] == expected
    assert len(part.loader) == len(expected)


def test_distance(feeds):
    [part] = feeds(1, DefaultSampler, size=22)  # 5 batches an epoch
    assert part.advance(1, 8, 2) == (1, 16)
    assert part.advance(1, 8, 3) == (2, 0)
    assert part.advance(1, 8, 9) == (3, 4)
    assert part.advance(0, 0, 0) == (0, 0)
    [part] = feeds(1, KeyedInfiniteSampler, size=22)
    assert part.advance(0, 20, 1) == (1, 2)
    assert part.advance(1, 2, 10) == (2, 20)


def test_users_own_generator_is_kept(feeds):
    from torch import Generator
    mine = Generator().manual_seed(1)
    loader = DataLoader(range(8), batch_size=4, generator=mine, shuffle=True)
    part = feed.make_feed(loader, accumulation=1, seed=3)
    part.start(0, 0)
    assert loader.generator is mine
    [part] = feeds(1, DefaultSampler)
    seeds = []
    for place in ((0, 0), (0, 8), (1, 0), (0, 0)):
        part.start(*place)
        seeds.append(part.loader.generator.initial_seed())
    assert len(set(seeds)) == 3
    assert seeds[0] == seeds[3]


def runner_of(part):
    """The least that a loop asks of a runner."""
    return SimpleNamespace(
        optim_wrapper=dict(accumulative_counts=part.accumulation), seed=5,
        _randomness_cfg={}, visualizer=SimpleNamespace(), val_loop=None)


SAVED = Position(epoch=2, iter=29, epoch_samples=40, samples=200,
                 global_batch=8, accumulation=1, epoch_length=12, seed=5)


@pytest.mark.parametrize('world, batch, accumulation, epoch, done', [
    (1, 8, 1, 2, 24 + 5), (2, 4, 1, 2, 29),
    # half a batch: twice as many, of steps as before
    (1, 4, 2, 2, 2 * 24 + 10),
    # 16 a step: 60 samples are left for 3 steps of the epoch's 6
    (1, 16, 1, 2, 2 * 6 + 3), (4, 4, 1, 2, 15),
    # 9 a step: 60 // 9 of 100 // 9 are left
    (1, 9, 1, 2, 2 * 11 + 5),
    # 64 a step: nothing is left, the epoch only has to be closed
    (1, 64, 1, 2, 3),
])
def test_epochs_in_units_of_another_run(feeds, world, batch, accumulation,
                                        epoch, done):
    for part in feeds(world, KeyedSampler, size=100, batch=batch,
                      accumulation=accumulation):
        loop = EpochTrainLoop(runner_of(part), part.loader, 4)
        loop.feed.world_size = world
        meta = dict(epoch=9, iter=99, position=SAVED.as_dict())
        loop.restore(meta)
        assert (meta['epoch'], meta['iter']) == (epoch, done)
        loop._epoch, loop._iter = epoch, done
        position = loop.position_at(done)
        assert position['epoch_samples'] == 40
        assert position['samples'] == 200
        assert position['global_batch'] == world * batch


@pytest.mark.parametrize('world, batch, accumulation, done', [
    (1, 8, 1, 25), (2, 4, 1, 25), (1, 4, 2, 50), (1, 16, 1, 12),
    (1, 3, 4, 64)])
def test_iterations_in_units_of_another_run(feeds, world, batch,
                                            accumulation, done):
    for part in feeds(world, KeyedInfiniteSampler, size=80, batch=batch,
                      accumulation=accumulation):
        loop = IterTrainLoop(runner_of(part), part.loader, 100)
        loop.feed.world_size = world
        saved = replace(SAVED, iter=25)
        meta = dict(epoch=2, iter=25, position=saved.as_dict())
        loop.restore(meta)
        assert (meta['epoch'], meta['iter']) == (0, done)
        loop._iter = done
        assert loop.place_at(done) == (2, 40)
        assert loop.data_epoch == 2
        assert loop.position_at(done + 1)['samples'] == 200 + world * batch


def test_a_last_step_that_was_short_is_not_done_again(feeds):
    [part] = feeds(1, KeyedInfiniteSampler, accumulation=2)
    loop = IterTrainLoop(runner_of(part), part.loader, 11)
    saved = replace(SAVED, iter=11, global_batch=4, accumulation=2)
    meta = dict(position=saved.as_dict())
    loop.restore(meta)
    assert meta['iter'] == 11


def test_empty_passes():
    loader = DataLoader(range(3), batch_size=4, drop_last=True)
    with pytest.raises(ConfigError, match='3 images on 1 process'):
        feed.make_feed(loader, accumulation=1, seed=0)
