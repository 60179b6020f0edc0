"""Keyed samplers: order, sharding, position, end of the epoch."""
from __future__ import annotations

from itertools import islice

import pytest

from mimplug.datasets import KeyedInfiniteSampler, KeyedSampler, samplers
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


class Keyed:
    """The least that a sampler needs of a data set."""

    def __init__(self, size):
        self.size, self.seed = size, None

    def __len__(self):
        return self.size

    def bind_seed(self, seed):
        self.seed = seed


@pytest.fixture
def ranks(monkeypatch):
    """Builds the sampler of every rank of a world of a given size."""

    def build(world, size, kind=KeyedSampler, **kwargs):
        made = []
        for rank in range(world):
            monkeypatch.setattr(
                samplers, 'get_dist_info', lambda rank=rank: (rank, world))
            made.append(kind(Keyed(size), seed=5, **kwargs))
        return made

    return build


def interleave(parts):
    """The global order that the ranks' samples make up."""
    longest = max(len(part) for part in parts)
    return [part[i] for i in range(longest) for part in parts
            if i < len(part)]


def test_epoch_is_a_permutation_that_changes_with_epoch_and_seed():
    data = Keyed(50)
    sampler = KeyedSampler(data, seed=5)
    first = list(sampler)
    assert data.seed == 5
    assert len(first) == len(sampler) == 50
    assert sorted(index for _, index, _ in first) == list(range(50))
    assert {(epoch, repeat) for epoch, _, repeat in first} == {(0, 0)}
    assert list(sampler) == first
    sampler.set_epoch(1)
    second = list(sampler)
    assert [key[1] for key in second] != [key[1] for key in first]
    other = list(KeyedSampler(Keyed(50), seed=6))
    assert other != first


def test_without_shuffle_the_order_is_that_of_the_data_set():
    keys = list(KeyedSampler(Keyed(4), seed=0, shuffle=False))
    assert keys == [(0, 0, 0), (0, 1, 0), (0, 2, 0), (0, 3, 0)]


@pytest.mark.property
@pytest.mark.parametrize('world', [2, 3, 5])
@pytest.mark.parametrize('tail', ['drop', 'pad', 'keep'])
def test_ranks_together_are_one_process(ranks, world, tail):
    whole = list(ranks(1, 23)[0])
    made = ranks(world, 23, tail=tail)
    parts = [list(sampler) for sampler in made]
    assert [len(part) for part in parts] == [len(s) for s in made]
    common = interleave(parts)
    expected = {
        'drop': whole[:23 // world * world],
        'pad': whole + whole[:-23 % world],
        'keep': whole,
    }[tail]
    assert common == expected
    if tail != 'keep':
        assert len({len(part) for part in parts}) == 1


def test_batches_of_a_dropping_loader_do_not_depend_on_the_world(ranks):
    batches = []
    for world, size in ((1, 8), (2, 4), (4, 2), (8, 1)):
        common = interleave([list(s) for s in ranks(world, 45)])
        count = min(len(s) // size for s in ranks(world, 45))
        batches.append([frozenset(common[i * 8:i * 8 + 8])
                        for i in range(count)])
    assert len(batches[0]) == 5
    assert all(one == batches[0] for one in batches)


@pytest.mark.property
@pytest.mark.parametrize('position', [0, 1, 8, 22, 23])
@pytest.mark.parametrize('world', [1, 2, 3])
def test_position_resumes_with_any_world(ranks, position, world):
    whole = list(ranks(1, 23)[0])
    made = ranks(world, 23, tail='keep', start_position=position)
    assert interleave([list(s) for s in made] + [[]]) == whole[position:]
    for sampler in made:
        sampler.set_epoch(0)  # what the stock hook does after a resume
        assert sampler.position == position
        sampler.set_epoch(1)
        assert sampler.position == 0


def test_repeats_follow_each_other_and_count_as_samples(ranks):
    keys = list(ranks(1, 5, repeats=3)[0])
    assert len(keys) == 15
    for start in range(0, 15, 3):
        group = keys[start:start + 3]
        assert len({index for _, index, _ in group}) == 1
        assert [repeat for _, _, repeat in group] == [0, 1, 2]
    resumed = list(ranks(1, 5, repeats=3, start_position=4)[0])
    assert resumed == keys[4:]


def test_infinite_sampler_chains_the_epochs(ranks):
    sampler = ranks(1, 7)[0]
    expected = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        expected += list(sampler)
    endless = ranks(1, 7, KeyedInfiniteSampler)[0]
    assert list(islice(endless, 28)) == expected
    endless.set_epoch(3)  # no effect: the position says it all
    assert list(islice(endless, 3)) == expected[:3]
    pair = ranks(2, 7, KeyedInfiniteSampler)
    assert interleave([list(islice(s, 14)) for s in pair]) == expected
    for sampler in pair:
        sampler.skip(5)
    assert interleave([list(islice(s, 9)) for s in pair]) == expected[10:]


def test_infinite_sampler_serves_data_sets_smaller_than_the_world(ranks):
    trio = ranks(3, 2, KeyedInfiniteSampler, shuffle=False)
    keys = interleave([list(islice(s, 2)) for s in trio])
    assert keys == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0), (2, 0, 0),
                    (2, 1, 0)]


@pytest.mark.parametrize('tail, length', [
    ('drop', 8), ('pad', 12), ('keep', 8)])
def test_epochs_of_whole_groups(ranks, tail, length):
    made = ranks(2, 23, tail=tail)
    for sampler in made:
        sampler.round_to(4)
        assert len(sampler) == length
    parts = [list(sampler) for sampler in made]
    assert [len(part) for part in parts] == [length] * 2
    whole = list(ranks(1, 23)[0])
    common = interleave(parts)
    assert common[:23] == whole[:min(23, 2 * length)]
    # what is left of an epoch depends on where it is entered
    for sampler in made:
        assert sampler.count_from(8) == (8 if tail == 'pad' else 4)
        assert sampler.count_from(22) == 0
        assert sampler.count_from(99) == 0
        sampler.set_position(16)
        assert len(list(sampler)) == (4 if tail == 'pad' else 0)
        assert len(sampler) == length


def test_groups_of_one_make_ranks_equal(ranks):
    made = ranks(3, 23, tail='keep')
    assert [len(sampler) for sampler in made] == [8, 8, 7]
    for sampler in made:
        sampler.round_to(1)
    assert [len(list(sampler)) for sampler in made] == [7, 7, 7]


def test_groups_that_no_epoch_fills(ranks):
    sampler = ranks(2, 23)[0]
    with pytest.raises(ConfigError, match=r'23 samples on 2 .* of 12 '):
        sampler.round_to(12)
    with pytest.raises(ConfigError, match='samples=0'):
        sampler.round_to(0)
    endless = ranks(2, 23, KeyedInfiniteSampler)[0]
    endless.round_to(12)
    assert len(list(islice(endless, 30))) == 30


def test_seed_of_a_resumed_run(ranks):
    resumed, other = ranks(1, 9)[0], ranks(1, 9)[0]
    other.reseed(8)
    assert other.dataset.seed == 8
    assert list(other) == list(KeyedSampler(Keyed(9), seed=8))
    resumed.dataset.seed = 2  # the user's own
    resumed.reseed(8)
    assert resumed.dataset.seed == 2
    assert list(resumed) == list(other)


@pytest.mark.parametrize('kwargs, message', [
    (dict(tail='dropp'), "did you mean 'drop'"),
    (dict(repeats=0), 'repeats=0'),
    (dict(start_position=11), 'start_position=11'),
])
def test_wrong_settings(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        KeyedSampler(Keyed(10), seed=0, **kwargs)


def test_plain_data_sets_and_empty_epochs_are_refused(ranks):
    with pytest.raises(ConfigError, match='KeyedDataset'):
        KeyedSampler([1, 2, 3], seed=0)
    with pytest.raises(ConfigError, match='at least 4'):
        ranks(4, 3)
