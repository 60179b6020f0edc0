"""Draws of one sample: equal bits everywhere, only the key decides."""
from __future__ import annotations

import pickle
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import mimplug
from mimplug.draws import HashDraws, KeyedRandom, SampleKeys, hash_name
from mimplug.draws.bits import (
    MASK,
    fold,
    fold_array,
    fold_tensor,
    unit_float,
)

ROOT = Path(mimplug.__file__).parents[1]


class TestBits:

    @pytest.mark.unit
    def test_fold_is_splitmix64(self):
        # Published first outputs of SplitMix64 seeded with 1234567.
        expected = [6457827717110365317, 3203168211198807973,
                    9817491932198370423, 4593380528125082431,
                    16408922859458223821]
        assert [fold(1234567, n) for n in range(5)] == expected

    @pytest.mark.property
    def test_python_numpy_and_torch_agree(self):
        rng = random.Random(0)
        extremes = [0, 1, MASK, 1 << 63, (1 << 63) - 1]
        keys = extremes + [rng.getrandbits(64) for _ in range(200)]
        words = [0, -1, 7, (1 << 63) - 1, -(1 << 63)] + [
            rng.randrange(-2**63, 2**63) for _ in range(200)]
        python = [fold(key, word) for key, word in zip(keys, words)]
        numpy = fold_array(
            np.array(keys, np.uint64), np.array(words, np.int64))
        tensor = fold_tensor(
            torch.from_numpy(np.array(keys, np.uint64).view(np.int64)),
            torch.tensor(words))
        assert numpy.tolist() == python
        assert tensor.numpy().view(np.uint64).tolist() == python
        one_word = fold_array(np.array(keys, np.uint64), -3)
        assert one_word.tolist() == [fold(key, -3) for key in keys]

    @pytest.mark.unit
    def test_names_hash_alike_in_another_process(self):
        code = 'from mimplug.draws import hash_name; print(hash_name("µ/x"))'
        other = subprocess.run(
            [sys.executable, '-c', code], capture_output=True, text=True,
            check=True, env={'PYTHONHASHSEED': '77', 'PYTHONPATH': str(ROOT)})
        assert int(other.stdout) == hash_name('µ/x')

    @pytest.mark.property
    def test_integers_never_leave_the_range(self):
        largest = unit_float(MASK)
        assert largest < 1
        for span in [*range(1, 2000), 2**31, 2**31 + 1, 10**9 + 7]:
            assert int(largest * span) == span - 1


class TestKeyedRandom:

    @pytest.mark.property
    @pytest.mark.parametrize('view', [0, 1])
    def test_same_values_as_the_batch(self, view):
        index = [4, 17, 2**40]
        repeat = np.array(index) % 3
        keys = SampleKeys(np.full(3, 2), np.array(index), repeat)
        draws = HashDraws(5, 9, keys, views=(0, 1))
        for column, i in enumerate(index):
            one = KeyedRandom(5, 2, i, i % 3).for_view(view)
            row = view * len(index) + column
            assert one.uniform('a', -1, 2, n=3) == draws.row_uniform(
                'a', -1, 2, n=3)[row]
            assert one.integers('b', 2, 11) == draws.row_integers(
                'b', 2, 11)[row]

    @pytest.mark.unit
    def test_order_and_view_do_not_matter(self):
        first = KeyedRandom(0, 1, 2, 3, view=1)
        values = [first.uniform('a'), first.uniform('b'), first.uniform('a')]
        assert values[0] == values[2] != values[1]
        assert KeyedRandom(0, 1, 2, 3).for_view(1).uniform('b') == values[1]
        assert pickle.loads(pickle.dumps(first)).uniform('b') == values[1]

    @pytest.mark.unit
    def test_every_part_of_the_key_counts(self):
        base = dict(seed=0, epoch=0, index=0, repeat=0, view=0)
        values = [KeyedRandom(**base).uniform('a'),
                  KeyedRandom(**base).uniform('a', n=1),
                  KeyedRandom(**base).uniform('b')]
        values += [KeyedRandom(**{**base, name: 1}).uniform('a')
                   for name in base]
        assert len(set(values)) == len(values)

    @pytest.mark.property
    def test_distributions(self):
        count = 4000
        draws = [KeyedRandom(1, 0, i) for i in range(count)]
        die = np.bincount([d.integers('die', 1, 6) for d in draws])
        # Five standard deviations of a fair die's face.
        assert abs(die[1:] - count / 6).max() < 5 * (count * 5 / 36)**0.5
        assert len(die) == 7
        assert die[0] == 0
        heads = np.mean([d.bernoulli('coin', 0.3) for d in draws])
        assert heads == pytest.approx(0.3, abs=5 * (0.21 / count)**0.5)
        uniform = [d.uniform('u', 2, 4) for d in draws]
        assert np.mean(uniform) == pytest.approx(3, abs=0.05)
        assert min(uniform) >= 2
        assert max(uniform) < 4
        first = np.bincount([d.permutation('p', 3)[0] for d in draws])
        assert abs(first - count / 3).max() < 5 * (count * 2 / 9)**0.5

    @pytest.mark.unit
    def test_corner_values(self):
        draws = KeyedRandom(0, 0, 0)
        assert not any(draws.bernoulli('x', 0, n=n) for n in range(100))
        assert all(draws.bernoulli('x', 1, n=n) for n in range(100))
        assert sorted(draws.permutation('p', 9)) == list(range(9))
        assert draws.permutation('p', 0) == []
        assert draws.choice('c', 1) == 0
        with pytest.raises(ValueError, match=r'empty range \[3, 2\]'):
            draws.integers('x', 3, 2)
        with pytest.raises(ValueError, match='empty range'):
            draws.choice('x', 0)
