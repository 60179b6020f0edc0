"""Global generators go on where a checkpoint left them."""
from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mimplug.engine.checkpoint import gather_rng, restore_rng
from mimplug.engine.checkpoint import rng as module

pytestmark = pytest.mark.unit


def draw():
    """Numbers of all generators, halves of normal pairs included."""
    return (torch.rand(2).tolist(), np.random.rand(), np.random.randn(),
            random.random(), random.gauss(0, 1))


@pytest.mark.parametrize('halves', [0, 1])
def test_the_same_numbers_follow(halves):
    for _ in range(halves):  # a stored half of a pair is part of the state
        np.random.randn()
        random.gauss(0, 1)
    saved = gather_rng()
    expected = [draw(), draw()]
    draw()
    assert restore_rng(saved, seed=0, iteration=5)
    assert [draw(), draw()] == expected


def test_another_number_of_processes_seeds_by_rank(monkeypatch):
    saved = gather_rng()
    seen = {}
    monkeypatch.setattr(module.dist, 'get_world_size', lambda: 2)
    for rank, iteration in [(0, 5), (1, 5), (0, 6), (0, 5)]:
        monkeypatch.setattr(module.dist, 'get_rank', lambda r=rank: r)
        assert not restore_rng(saved, seed=0, iteration=iteration)
        numbers = draw()
        assert seen.setdefault((rank, iteration), numbers) == numbers
    assert len({str(numbers) for numbers in seen.values()}) == 3
