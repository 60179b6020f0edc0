"""Selection by rank: counts, ties, hints and random order."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import ReplayDraws
from mimplug.errors import ConfigError
from mimplug.masking import (
    FixedRatio,
    GumbelSelector,
    HintSelector,
    UniformRatio,
    apply_probability,
    draw_ranks,
    gumbel_keys,
    select_bottom,
    select_top,
)


def scores_of(rows, length, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(rows, length, generator=generator)


@pytest.mark.property
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_top_and_bottom_take_exact_counts(dtype):
    counts = np.array([0, 1, 5, 20, 25])
    scores = scores_of(5, 20).to(dtype)
    top, bottom = select_top(scores, counts), select_bottom(scores, counts)
    expected = counts.clip(max=20).tolist()
    assert top.sum(1).tolist() == bottom.sum(1).tolist() == expected
    for row in range(1, 3):
        assert scores[row][top[row]].min() >= scores[row][~top[row]].max()
        assert (scores[row][bottom[row]].max()
                <= scores[row][~bottom[row]].min())


@pytest.mark.unit
def test_ties_fall_to_the_first_token():
    ones = torch.ones(2, 6)
    for select in (select_top, select_bottom):
        assert select(ones, [2, 4]).int().tolist() == [
            [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0]]


@pytest.mark.property
def test_random_ranks_are_exact_and_even(make_context):
    context = make_context(batch=6000, views=1)
    counts = np.arange(6000) % 7
    ranks = draw_ranks(context.draws, 'reveal', counts, 5)
    assert ranks.sum(1).tolist() == counts.clip(max=5).tolist()
    # Mean of min(0…6, 5)/5 over the rows; 5 standard deviations are 0.033.
    assert abs(ranks.mean(0) - 20 / 35).max() < 0.033


@pytest.mark.unit
def test_row_is_kept_unless_its_number_exceeds_the_probability():
    draws = ReplayDraws({'apply': [0.0, 0.5, 0.5000001, 0.99]}).bind(1, 4)
    assert apply_probability(draws, 0.5).tolist() == [
        True, True, False, False]
    # Nothing is drawn for probability 1, so nothing needs to be replayed.
    assert apply_probability(ReplayDraws({}).bind(1, 4), 1.0).all()


@pytest.mark.property
def test_probability(make_context):
    kept = apply_probability(make_context(batch=4000).draws, 0.3)
    assert kept.mean() == pytest.approx(0.3, abs=0.026)


class TestHint:

    @pytest.mark.unit
    @pytest.mark.parametrize('show_max, show_ratio, count, hidden', [
        (0.1, 0.05, 60, 60 - 10),   # everything revealed was hidden
        (0.1, 0.0, 60, 60),
        (0.0, 0.05, 60, 60),        # an empty pool reveals nothing
        (0.1, 1.0, 60, 60 - 20),    # more than the pool: all of the pool
        (0.1, 0.05, 0, 0),
        (1.0, 1.0, 200, 0),
        (0.004, 0.004, 60, 60),     # both sizes round down to 0
    ])
    def test_counts(self, show_max, show_ratio, count, hidden, make_context):
        context = make_context(grid=(10, 20))
        ranks = HintSelector(show_max, show_ratio).ranks(
            np.full(8, count), context, FixedRatio(0.3))
        assert ranks.sum(1).tolist() == [hidden] * 8
        assert not ranks[:, count:].any()
        assert ranks[:, int(200 * show_max):count].all()

    @pytest.mark.unit
    def test_second_draw_of_the_ratio_sets_the_share(self, make_context):
        sampler = UniformRatio(0.3, 0.2, per='rank')
        draws = ReplayDraws({
            'show_ratio': 0.25, 'reveal': np.zeros((8, 100))})
        context = make_context(grid=(10, 20), draws=draws)
        ranks = HintSelector(show_max=0.5).ranks(
            np.full(8, 150), context, sampler)
        # floor(200 * 0.5 * 0.25) = 25; equal numbers: the first ranks.
        assert not ranks[:, :25].any()
        assert ranks[:, 25:150].all()

    @pytest.mark.unit
    @pytest.mark.parametrize('name', ['show_max', 'show_ratio'])
    def test_out_of_range(self, name):
        with pytest.raises(ConfigError, match=f'{name}=1.5'):
            HintSelector(**{name: 1.5})


class TestGumbel:

    @pytest.mark.property
    def test_first_choice_follows_the_weights(self, make_context):
        weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
        context = make_context(batch=8000, views=1, grid=(2, 2))
        order = GumbelSelector().order(
            weights.log().expand(8000, 4), context)
        share = torch.bincount(order[:, 0], minlength=4) / 8000
        # 5 standard deviations of a share of 0.4 over 8000 draws.
        assert (share - weights).abs().max() < 0.028

    @pytest.mark.unit
    def test_temperature_limits(self, make_context):
        context = make_context(batch=500, views=1, grid=(2, 2))
        scores = torch.tensor([0.1, 0.4, 0.2, 0.3]).expand(500, 4)
        cold = GumbelSelector(1e-4).order(scores, context)
        assert set(map(tuple, cold.tolist())) == {(1, 3, 2, 0)}
        hot = GumbelSelector(1e4).order(scores, context)
        assert len(set(map(tuple, hot.tolist()))) == 24

    @pytest.mark.unit
    def test_keys_are_finite_and_keep_the_type(self):
        ends = torch.tensor([[0.0, 1 - 2.0**-24]])
        for dtype in (torch.float32, torch.bfloat16, torch.float64):
            keys = gumbel_keys(torch.zeros(1, 2, dtype=dtype), ends)
            assert keys.dtype == dtype
            assert keys.isfinite().all()

    @pytest.mark.unit
    def test_temperature_must_be_positive(self):
        with pytest.raises(ConfigError, match='temperature=0'):
            GumbelSelector(0)
