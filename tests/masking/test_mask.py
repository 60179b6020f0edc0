"""The mask record: checks, derived values, rows without a sync."""
from __future__ import annotations

import pytest
import torch

from mimplug.masking import Mask


def some_mask(rows=3, grid=(2, 4), **kwargs):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.rand(rows, 1, *grid, generator=generator) < 0.4
    return Mask(hidden, **kwargs)


@pytest.mark.unit
def test_shape_and_defaults():
    mask = some_mask()
    assert (mask.batch, mask.grid, mask.capacity) == (3, (2, 4), 24)
    assert mask.tokens.shape == (3, 8)
    assert torch.equal(mask.tokens[1].reshape(2, 4), mask.hidden[1, 0])


@pytest.mark.unit
def test_kept_area_counts_hidden_and_dropped():
    hidden = torch.zeros(2, 1, 2, 2, dtype=torch.bool)
    dropped = hidden.clone()
    hidden[0, 0, 0, 0] = dropped[0, 0, 1] = True
    mask = Mask(hidden, dropped)
    assert mask.lam.dtype == torch.float32
    assert mask.lam.tolist() == [0.25, 1.0]


@pytest.mark.unit
def test_channel_masks_have_no_tokens():
    mask = Mask(torch.ones(1, 3, 2, 2, dtype=torch.bool))
    assert mask.lam.tolist() == [0.0]
    with pytest.raises(ValueError, match='C = 1'):
        mask.hidden_rows()


@pytest.mark.property
@pytest.mark.parametrize('spare', [0, 1, 7])
def test_hidden_rows_find_every_hidden_token(spare, no_sync):
    hidden = some_mask().hidden
    expected = hidden.flatten().nonzero()[:, 0].tolist()
    with no_sync():
        mask = Mask(hidden, capacity=len(expected) + spare)
        index, valid = mask.hidden_rows()
    assert index.shape == valid.shape == (len(expected) + spare,)
    assert index[valid].tolist() == expected
    assert index[~valid].tolist() == [0] * spare


@pytest.mark.unit
def test_none_hides_nothing():
    mask = Mask.none(4, (3, 2))
    index, valid = mask.hidden_rows()
    assert mask.capacity == len(index) == len(valid) == 0
    assert mask.lam.tolist() == [1.0] * 4


@pytest.mark.unit
def test_cat():
    one, two = some_mask(capacity=20), some_mask(2, capacity=9)
    dropped = Mask(two.hidden, ~two.hidden, capacity=9)
    both = Mask.cat([one, dropped])
    assert torch.equal(both.hidden[3:], two.hidden)
    assert both.capacity == 29
    assert both.dropped is not None
    assert both.dropped[:3].sum() == 0
    assert Mask.cat([one]) is one
    assert Mask.cat([one, two]).dropped is None
    boxes = torch.zeros(3, 4)
    boxed = Mask(one.hidden, boxes=boxes)
    assert Mask.cat([boxed, boxed]).boxes.shape == (6, 4)
    with pytest.raises(ValueError, match='1 of 2 masks have boxes'):
        Mask.cat([boxed, one])
    with pytest.raises(ValueError, match='share channels and grid'):
        Mask.cat([one, some_mask(grid=(2, 3))])
    with pytest.raises(ValueError, match='at least one'):
        Mask.cat([])


@pytest.mark.unit
def test_to_moves_every_part():
    mask = some_mask()
    full = Mask(mask.hidden, mask.hidden, torch.zeros(3, 2, 4), 17)
    moved = full.to('meta')
    assert {part.device.type for part in (
        moved.hidden, moved.dropped, moved.boxes)} == {'meta'}
    assert moved.capacity == 17
    assert some_mask().to('meta').dropped is None


def dropping_mask(rows=5, number=3, grid=(2, 4)):
    """Random cells hidden, ``number`` others dropped, in each row."""
    generator = torch.Generator().manual_seed(1)
    order = torch.rand(rows, 8, generator=generator).argsort(1)
    states = torch.zeros(2, rows, 8, dtype=torch.bool)
    states[0].scatter_(1, order[:, :2], True)
    states[1].scatter_(1, order[:, 2:2 + number], True)
    hidden, dropped = states.reshape(2, rows, 1, *grid)
    return Mask(hidden, dropped, capacity=2 * rows, num_dropped=number)


@pytest.mark.property
@pytest.mark.parametrize('number', [1, 3, 6])
def test_dropped_tokens_are_left_out(number, no_sync):
    mask = dropping_mask(number=number)
    with no_sync():
        keep = mask.keep_ids()
        index, valid = mask.hidden_rows()
        kept = mask.kept_index(index)
    wanted = [(~row).nonzero()[:, 0].tolist()
              for row in mask.dropped.flatten(1)]
    assert keep.tolist() == wanted
    assert valid.all()
    # the same tokens, counted in the whole rows and in the short ones
    tokens = torch.arange(5 * 8).reshape(5, 8)
    short = tokens.gather(1, keep).flatten()
    assert torch.equal(short[kept], tokens.flatten()[index])


@pytest.mark.unit
def test_padding_stays_inside_the_short_rows():
    mask = dropping_mask(number=6)
    kept = mask.kept_index(torch.arange(5 * 8))
    assert kept.min() >= 0
    assert kept.max() < 5 * 2


@pytest.mark.unit
def test_nothing_is_left_out_without_a_third_state():
    mask = some_mask()
    index = torch.tensor([3, 9])
    assert mask.num_dropped == 0
    assert mask.keep_ids() is None
    assert mask.kept_index(index) is index
    empty = Mask(mask.hidden, torch.zeros_like(mask.hidden), num_dropped=0)
    assert empty.keep_ids() is None
    assert empty.kept_index(index) is index


@pytest.mark.unit
def test_rows_that_drop_different_numbers_cannot_be_left_out():
    mask = Mask.cat([dropping_mask(number=2), dropping_mask(number=3)])
    assert mask.num_dropped is None
    with pytest.raises(ValueError, match='differs between the rows'):
        mask.keep_ids()
    assert Mask.cat([dropping_mask(), dropping_mask()]).num_dropped == 3


@pytest.mark.unit
@pytest.mark.parametrize('change, error, message', [
    (dict(num_dropped=1), ValueError, r'num_dropped=1: allowed is \[0, 0\]'),
    (dict(dropped=torch.zeros(3, 1, 2, 4, dtype=torch.bool), num_dropped=8),
     ValueError, r'num_dropped=8: allowed is \[0, 7\]'),
    (dict(hidden=torch.zeros(1, 1, 2, 2)), TypeError, 'bool'),
    (dict(hidden=torch.zeros(1, 2, 2, dtype=torch.bool)), ValueError,
     r'\(M, C, Hp, Wp\)'),
    (dict(hidden=torch.zeros(1, 2, 2, 2, dtype=torch.bool)), ValueError,
     'C = 1 or 3'),
    (dict(dropped=torch.zeros(1, 1, 2, 2, dtype=torch.bool)), ValueError,
     'must be equal'),
    (dict(dropped=torch.zeros(3, 1, 2, 4)), TypeError, 'dropped must be'),
    (dict(boxes=torch.zeros(3, 5)), ValueError, 'boxes must be'),
    (dict(boxes=torch.zeros(2, 4)), ValueError, 'boxes must be'),
    (dict(capacity=25), ValueError, r'allowed is \[0, 24\]'),
    (dict(capacity=-2), ValueError, 'capacity=-2'),
])
def test_wrong_input(change, error, message):
    with pytest.raises(error, match=message):
        Mask(**{'hidden': some_mask().hidden, **change})


@pytest.mark.unit
def test_the_kind_of_a_row_goes_with_it():
    hidden = torch.zeros(2, 1, 4, 4, dtype=torch.bool)
    one = Mask(hidden, kind=torch.tensor([0, 2]), num_kinds=3, cells=(2, 2))
    both = Mask.cat([one, one]).to('cpu')
    assert both.kind.tolist() == [0, 2, 0, 2]
    assert (both.num_kinds, both.cells) == (3, (2, 2))
    with pytest.raises(ValueError, match='1 of 2 masks have kind'):
        Mask.cat([one, Mask(hidden, cells=(2, 2))])
    with pytest.raises(ValueError, match='share the grid of their cells'):
        Mask.cat([one, Mask(hidden, kind=torch.tensor([0, 2]))])
    with pytest.raises(ValueError, match=r'kind must be \(M,\) with M = 2'):
        Mask(hidden, kind=torch.tensor([0]))
