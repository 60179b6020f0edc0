"""data2vec 2.0 and CAPI: what stays visible is a block."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.errors import ConfigError
from mimplug.masking import InverseBlockMask, InverseRectangleMask
from mimplug.masking.generators.inverse import kept_counts

pytestmark = pytest.mark.unit


def neighbours(kept):
    """Share of kept tokens whose right neighbour is kept, too."""
    pairs = kept[..., :-1] & kept[..., 1:]
    return (pairs.sum() / kept[..., :-1].sum()).item()


def test_kept_counts():
    ratios = np.array([0.8, 0.75, 0.0, 1.0])
    assert kept_counts(ratios, 196).tolist() == [39, 49, 196, 0]
    # 10 * (1 - 0.8) is a little less than 2
    assert kept_counts(np.array([0.8]), 10).tolist() == [2]


def test_data2vec_keeps_squares(make_context):
    context = make_context(batch=200, views=1, grid=(14, 14))
    mask = InverseBlockMask()(context)
    kept = ~mask.hidden
    assert (kept.flatten(1).sum(1) == 39).all()
    # 39 single tokens would have kept neighbours with probability 0.2
    assert neighbours(kept) > 0.5


def test_data2vec_number_of_squares(make_context):
    """floor(196 * 0.27 / 9) = 5 squares, no more than 45 tokens."""
    context = make_context(batch=300, views=1, grid=(14, 14))
    generator = InverseBlockMask()
    generator.counts = lambda ratios, grid: np.zeros(len(ratios), np.int64)
    calls = {}
    uniform = context.draws.host_uniform
    context.draws.host_uniform = lambda name, *shape, n=0: calls.setdefault(
        name, uniform(name, *shape, n=n))
    generator.cells(context)
    assert calls['block/y'].shape == calls['block/x'].shape == (300, 5)


def test_data2vec_with_one_centre_of_one_token(make_context):
    context = make_context(batch=4, views=1, grid=(4, 4))
    mask = InverseBlockMask(0.75, block=1, adjust=0.0)(context)
    assert (mask.hidden.flatten(1).sum(1) == 12).all()


def test_capi_keeps_one_rectangle(make_context):
    context = make_context(batch=300, views=1, grid=(14, 14))
    kept = ~InverseRectangleMask(roll=False)(context).hidden[:, 0]
    # 196 - floor(127.4)
    assert (kept.flatten(1).sum(1) == 69).all()
    rows, columns = kept.any(2).sum(1), kept.any(1).sum(1)
    assert (rows * columns - 69 < columns + rows).all()
    # the aspect ratio lies in [0.5, 2], up to rounding up
    assert ((rows / columns) > 0.4).all()
    assert ((rows / columns) < 2.5).all()
    assert len(np.unique((rows * 100 + columns).numpy())) > 4


def test_capi_shift_removes_the_centre_bias(make_context):
    context = make_context(batch=2000, views=1, grid=(6, 6))
    spread = {}
    for roll in (False, True):
        hidden = InverseRectangleMask(0.5, roll=roll)(context).hidden
        spread[roll] = hidden.float().mean(0).std().item()
    assert spread[True] < 0.02 < spread[False]


@pytest.mark.parametrize('ratio', [0.0, 0.05, 0.5, 0.97, 1.0])
@pytest.mark.parametrize('grid', [(2, 9), (9, 2), (1, 5), (7, 7)])
def test_any_ratio_and_shape_is_exact(ratio, grid, make_context):
    context = make_context(batch=20, views=1, grid=grid)
    for generator in (InverseBlockMask(ratio), InverseRectangleMask(ratio)):
        number = generator(context).hidden.flatten(1).sum(1)
        low, high = generator.limits(grid)
        assert low == high
        assert (number == low).all()


def test_ratios_may_differ_between_rows(make_context):
    context = make_context(batch=30, views=2, grid=(8, 8))
    generator = InverseBlockMask((0.6, 0.3), block=2)
    number = generator(context).hidden.flatten(1).sum(1)
    wanted = generator.counts(generator.ratio(context), (8, 8))
    assert torch.equal(number, torch.from_numpy(wanted))
    assert len(set(number.tolist())) > 10


@pytest.mark.parametrize('kind, wrong', [
    (InverseBlockMask, {'block': 0}), (InverseBlockMask, {'adjust': -1}),
    (InverseRectangleMask, {'aspect': (2.0, 0.5)})])
def test_numbers_out_of_range(kind, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        kind(**wrong)
