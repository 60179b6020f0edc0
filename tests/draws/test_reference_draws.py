"""Draws with known results, and those in the reference's order."""
from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mimplug.draws import (
    HashDraws,
    PythonRandomDraws,
    ReplayDraws,
    SampleKeys,
)


class TestReplayDraws:

    @pytest.mark.unit
    def test_gives_back_what_it_was_given(self):
        draws = ReplayDraws({
            'row': torch.arange(4.), 'one': 0.5, 'image': [1, 2],
            'row/2': [9, 9, 9, 9], 'table': np.ones((4, 3))}).bind(2, 2)
        assert draws.row_uniform('row', 7, 8).tolist() == [0, 1, 2, 3]
        assert draws.row_integers('row', 0, 1, n=2).tolist() == [9] * 4
        where = np.array([3])
        assert draws.row_uniform('row', where=where).tolist() == [3]
        assert draws.row_uniform('one').tolist() == [0.5] * 4
        assert draws.image_uniform('image').tolist() == [1, 2]
        assert draws.image_integers('image', 0, 9).tolist() == [1, 2]
        assert draws.batch_uniform('one') == draws.rank_uniform('one') == 0.5
        assert draws.batch_integers('one', 0, 1) == 0
        assert draws.rank_integers('one', 0, 1) == 0
        assert draws.uniform('table', 3, device='cpu').shape == (4, 3)
        view = draws.for_view(1)
        assert view.row_uniform('row').tolist() == [2, 3]
        assert view.image_uniform('image').tolist() == [1, 2]

    @pytest.mark.unit
    def test_errors_name_the_way_out(self):
        draws = ReplayDraws({'ratio': [0.1, 0.2]})
        with pytest.raises(ValueError, match=r'draws\.bind'):
            draws.row_uniform('ratio')
        bound = draws.bind(1, 3)
        with pytest.raises(ValueError, match='needs 3 values'):
            bound.row_uniform('ratio')
        with pytest.raises(KeyError, match="did you mean 'ratio'"):
            bound.row_uniform('ratios')
        with pytest.raises(ValueError, match='needs shape'):
            draws.bind(1, 2).host_uniform('ratio', 4)
        with pytest.raises(ValueError, match='bound to'):
            bound.bind(1, 2)
        with pytest.raises(ValueError, match='view=1'):
            bound.for_view(1)


class TestPythonRandomDraws:

    @pytest.mark.unit
    def test_follows_the_sequential_generators(self):
        draws = PythonRandomDraws(3).bind(2, 1)
        python, numpy = random.Random(3), np.random.RandomState(3)
        expected = [python.uniform(0.1, 0.5) for _ in range(2)]
        assert draws.row_uniform('a', 0.1, 0.5).tolist() == expected
        assert draws.row_integers('b', 0, 9, where=np.array([1])).tolist(
            ) == [python.randint(0, 9)]
        assert draws.image_uniform('c').tolist() == [python.uniform(0, 1)]
        assert draws.image_integers('c', 1, 6).tolist() == [
            python.randint(1, 6)]
        assert draws.batch_uniform('d') == python.uniform(0, 1)
        assert draws.rank_uniform('d') == python.uniform(0, 1)
        assert draws.batch_integers('d', 0, 99) == python.randint(0, 99)
        assert draws.rank_integers('d', 0, 99) == python.randint(0, 99)
        places = np.arange(8)
        numpy.shuffle(places)
        table = draws.for_view(0).host_uniform('t', 2, 4)
        np.testing.assert_array_equal(table.ravel() * 8, places)

    @pytest.mark.unit
    def test_rows_take_turns(self):
        parts = PythonRandomDraws(0).bind(2, 3).split()
        assert [part.rows for part in parts] == [1] * 6
        values = [part.row_uniform('a')[0] for part in parts]
        python = random.Random(0)
        assert values == [python.random() for _ in range(6)]
        hashed = HashDraws(0, 0, SampleKeys.arange(2))
        assert hashed.split() == [hashed]
