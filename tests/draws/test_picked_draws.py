"""Chosen rows keep the numbers that they have in the batch."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, PickedDraws, ReplayDraws, SampleKeys

ROWS = np.array([5, 0, 3])


@pytest.fixture
def whole():
    return HashDraws(3, 7, SampleKeys.arange(3), views=(0, 1))


@pytest.fixture
def part(whole):
    return PickedDraws(whole, ROWS).bind(1, 3)


@pytest.mark.property
def test_rows_and_images(whole, part):
    np.testing.assert_array_equal(
        part.row_uniform('a', 2.0, 3.0, n=1),
        whole.row_uniform('a', 2.0, 3.0, n=1)[ROWS])
    np.testing.assert_array_equal(
        part.row_integers('a', 0, 99), whole.row_integers('a', 0, 99)[ROWS])
    some = np.array([2, 1])
    np.testing.assert_array_equal(
        part.row_uniform('a', np.array([0.0, 1.0]), 5.0, where=some),
        whole.row_uniform('a', np.array([0.0, 1.0]), 5.0, where=ROWS[some]))
    np.testing.assert_array_equal(
        part.row_integers('a', 0, 9, where=some),
        whole.row_integers('a', 0, 9, where=ROWS[some]))
    np.testing.assert_array_equal(
        part.image_uniform('a'), whole.image_uniform('a')[[2, 0, 0]])
    np.testing.assert_array_equal(
        part.image_integers('a', 0, 99),
        whole.image_integers('a', 0, 99)[[2, 0, 0]])


@pytest.mark.property
def test_tables(whole, part):
    table = whole.host_uniform('t', 4, 2, n=2)
    np.testing.assert_array_equal(part.host_uniform('t', 4, 2, n=2),
                                  table[ROWS])
    assert torch.equal(part.uniform('t', 4, 2, device='cpu', n=2),
                       torch.from_numpy(table[ROWS]))


@pytest.mark.property
def test_what_the_batch_shares_stays_the_same(whole, part):
    assert part.batch_uniform('b') == whole.batch_uniform('b')
    assert part.batch_integers('b', 0, 9) == whole.batch_integers('b', 0, 9)
    assert part.rank_uniform('b') == whole.rank_uniform('b')
    assert part.rank_integers('b', 0, 9) == whole.rank_integers('b', 0, 9)


@pytest.mark.unit
def test_picked_from_replayed_values():
    draws = ReplayDraws({'a': np.arange(6.0)}).bind(2, 3)
    part = PickedDraws(draws, ROWS)
    np.testing.assert_array_equal(part.row_uniform('a'), [5, 0, 3])


@pytest.mark.unit
def test_they_are_one_view(part):
    assert (part.num_views, part.batch_size) == (1, 3)
    assert part.for_view(0) is part
    with pytest.raises(ValueError, match='single view'):
        part.for_view(1)
    with pytest.raises(ValueError, match='2 views of 3'):
        part.bind(2, 3)
