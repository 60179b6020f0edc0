"""The pointing game measures what it says."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def game(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import pointing_game
    return pointing_game


@pytest.mark.unit
def test_numbers_of_known_maps(game):
    truth = np.zeros((10, 10), bool)
    truth[2:4, 5:10] = True
    assert game.measure(truth.astype(float), truth) == [1, 1, 1, 1]
    assert game.measure(-truth.astype(float), truth) == [0, 0, 0, 0]
    # chance: the area share, and half
    noise = np.random.default_rng(0).random((3000, 10, 10))
    mean = np.mean([game.measure(one, truth) for one in noise], 0)
    np.testing.assert_allclose(mean[[0, 1, 3]], [0.1, 0.1, 0.5], atol=0.02)


@pytest.mark.unit
def test_by_hand(game):
    truth = np.array([[True, True, False, False]])
    hit, mass, iou, auc = game.measure(
        np.array([[4.0, 1.0, 3.0, 2.0]]), truth)
    assert hit == 1
    assert mass == pytest.approx(3 / 6)
    # the two largest values: one inside, one outside
    assert iou == pytest.approx(1 / 3)
    # pairs (4, 3), (4, 2) are right, (1, 3), (1, 2) wrong
    assert auc == pytest.approx(0.5)
