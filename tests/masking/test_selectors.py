"""Selection rules of MST, MILAN and HPM."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimplug.errors import ConfigError
from mimplug.masking import (
    EasyToHardSelector,
    FixedRatio,
    GumbelSelector,
    ThinnedSelector,
)
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit
COUNTS = np.full(400, 10)


def context_of(make_context, epoch=0):
    context = make_context(batch=400, views=1, grid=(5, 4))
    return replace(context, progress=Progress(0, 1, epoch, 10))


def test_thinning_hides_candidates_with_their_probability(make_context):
    context = context_of(make_context)
    ranks = ThinnedSelector(0.3).ranks(COUNTS, context, FixedRatio(0.5))
    assert not ranks[:, 10:].any()
    assert abs(ranks[:, :10].mean() - 0.3) < 0.03
    for prob, share in ((0.0, 0.0), (1.0, 1.0)):
        ranks = ThinnedSelector(prob).ranks(COUNTS, context, FixedRatio(0.5))
        assert ranks[:, :10].mean() == share


@pytest.mark.parametrize('lowest, first', [(True, 1), (False, 2)])
def test_thinning_takes_the_smallest_or_the_largest(
        lowest, first, make_context):
    order = ThinnedSelector(1.0, lowest).order(
        torch.tensor([[0.5, 0.1, 0.9]]), context_of(make_context))
    assert order[0, 0] == first


@pytest.mark.parametrize('epoch, top', [(0, 0), (4, 2), (9, 5)])
def test_share_by_score_grows_with_the_epochs(epoch, top, make_context):
    """floor(0.5 (e + 1) / 10 * 10) of 10 tokens are the first ones."""
    context = context_of(make_context, epoch)
    ranks = EasyToHardSelector(0.5).ranks(COUNTS, context, FixedRatio(0.5))
    assert (ranks.sum(1) == 10).all()
    assert ranks[:, :top].all()
    others = ranks[:, top:].mean(0)
    assert np.abs(others - (10 - top) / (20 - top)).max() < 0.12


def test_from_all_to_none_by_score(make_context):
    selector = EasyToHardSelector(end=0.0, start=1.0)
    first, last = (
        selector.ranks(COUNTS, context_of(make_context, epoch), None)
        for epoch in (0, 9))
    assert first[:, :9].all()
    assert not last[:, :9].all(1).any()


def test_kept_tokens_are_drawn_by_weight(make_context):
    """One of four tokens stays visible: that often is its weight."""
    context = make_context(batch=4000, views=1, grid=(2, 2))
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    order = GumbelSelector(keep=True).order(
        weights.log().expand(4000, 4), context)
    share = torch.bincount(order[:, -1]) / 4000
    assert (share - weights).abs().max() < 0.03


@pytest.mark.parametrize('kind, wrong', [
    (ThinnedSelector, {'prob': 1.5}), (EasyToHardSelector, {'end': -0.1}),
    (EasyToHardSelector, {'start': 2})])
def test_numbers_out_of_range(kind, wrong):
    with pytest.raises(ConfigError, match=f'{next(iter(wrong))}='):
        kind(**wrong)
