"""Helpers for masks that are made on the host."""
from __future__ import annotations

import numpy as np
import pytest

from mimplug.draws import HashDraws, ReplayDraws, SampleKeys
from mimplug.masking.cells import (
    force_counts,
    integer_table,
    rectangles,
    roll_cells,
)

pytestmark = pytest.mark.unit


def draws(rows):
    return HashDraws(0, 0, SampleKeys.arange(rows))


def test_rectangles_are_cut_at_the_border():
    cells = rectangles(np.array([1, -1]), np.array([2, 0]),
                       np.array([2, 2]), 2, (3, 3))
    assert cells.astype(int).tolist() == [
        [[0, 0, 0], [0, 0, 1], [0, 0, 1]],
        [[1, 1, 0], [0, 0, 0], [0, 0, 0]]]


def test_rolling_keeps_the_shape_and_reaches_every_shift():
    cells = np.zeros((400, 3, 5), np.bool_)
    cells[:, 0, :2] = True
    rolled = roll_cells(cells, draws(400))
    assert (rolled.sum((1, 2)) == 2).all()
    assert len(np.unique(rolled.reshape(400, -1), axis=0)) == 15
    turned = roll_cells(cells[:1], ReplayDraws(
        {'roll/y': 2, 'roll/x': 4}).bind(1, 1))
    assert np.argwhere(turned[0]).tolist() == [[2, 0], [2, 4]]


def test_counts_are_forced_with_as_few_changes_as_possible():
    cells = np.zeros((3, 2, 4), np.bool_)
    cells[:, 0] = True
    forced = force_counts(cells, np.array([2, 4, 7]), draws(3), 'fill')
    assert forced.sum((1, 2)).tolist() == [2, 4, 7]
    assert not (forced & ~cells)[0].any()
    assert np.array_equal(forced[1], cells[1])
    assert not (~forced & cells)[2].any()


def test_forbidden_cells_are_never_chosen():
    allowed = np.ones((50, 2, 4), np.bool_)
    allowed[:, :, 0] = False
    forced = force_counts(~allowed, np.full(50, 6), draws(50), 'fill', allowed)
    assert np.array_equal(forced, allowed)


def test_integers_stay_below_their_bound():
    largest = np.full((1, 1), 1 - 2.0**-24, np.float32)
    replay = ReplayDraws({'place': largest}).bind(1, 1)
    for below in (1, 7, 8, 9, 13, 196):
        assert integer_table(replay, 'place', below, 1) == below - 1
    many = integer_table(draws(500), 'place', 3, 2)
    assert np.unique(many).tolist() == [0, 1, 2]
