"""I-JEPA's blocks."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import MultiBlockMask

pytestmark = pytest.mark.unit


def test_sizes_are_those_of_the_paper():
    """14 x 14 tokens: h = round(sqrt(floor(196 s) a)), and so on."""
    generator = MultiBlockMask()
    low, high = (generator._size(generator.target, share, (14, 14))
                 for share in (0.0, 1.0))
    assert low == (round((29 * 0.75)**0.5), round((29 / 0.75)**0.5))
    assert high == (round((39 * 1.5)**0.5), round((39 / 1.5)**0.5))
    # a context of 0.85 .. 1.0 is cut below the size of the grid
    assert generator._size(generator.context, 1.0, (14, 14)) == (13, 13)


def test_targets_have_one_size_in_the_batch_and_another_at_another_step(
        make_context):
    one = MultiBlockMask(1)
    sizes = {}
    for step in range(12):
        context = make_context(batch=8, grid=(14, 14), step=step)
        hidden = one(context).hidden[:, 0]
        found = {(int(row.any(1).sum()), int(row.any(0).sum()))
                 for row in hidden}
        assert len(found) == 1
        sizes[step] = found.pop()
        assert hidden.flatten(1).sum(1).unique().tolist() == [
            sizes[step][0] * sizes[step][1]]
    assert len(set(sizes.values())) > 2
    # scale and aspect ratio share their draw: taller is never narrower in area
    areas = [h * w for h, w in sorted(sizes.values())]
    assert areas[-1] > areas[0]


def test_blocks_reach_the_border(make_context):
    context = make_context(batch=200, grid=(14, 14))
    hidden = MultiBlockMask()(context).hidden[:, 0].any(0)
    assert hidden[0].any()
    assert hidden[-1].any()
    assert hidden[:, -1].any()


def test_the_student_sees_one_block_without_targets(make_context):
    context = make_context(batch=16, grid=(14, 14))
    mask = MultiBlockMask()(context)
    gone = mask.hidden | mask.dropped
    seen = (~gone).flatten(1).sum(1)
    assert (seen > 10).all()
    hidden = mask.hidden.flatten(1).sum(1)
    assert len(set(hidden.tolist())) > 3
    assert len(set((seen + hidden).tolist())) == 1
    # the shortest row decides: it loses nothing of its context
    blocks = MultiBlockMask()._blocks(context)
    whole = (blocks[0] | blocks[1]).sum((1, 2))
    assert mask.num_dropped == 196 - whole.min()
    visible = torch.from_numpy(blocks[1])
    assert not (~gone[:, 0] & ~visible).any()


def test_keep_frees_the_rows_from_each_other(make_context):
    generator = MultiBlockMask(keep=0.9)
    assert not generator.batch_coupled
    assert MultiBlockMask().batch_coupled
    keys = SampleKeys.arange(6)
    mask = generator(make_context(keys=keys, grid=(14, 14)))
    assert mask.num_dropped == 196 - 176
    assert (mask.dropped.flatten(1).sum(1) == 20).all()


def test_published_rows_are_coupled_by_what_is_dropped(make_context):
    """The same image alone and in a batch: other tokens are dropped."""
    found = []
    for index in ([0], [0, 1, 2, 3, 4, 5]):
        index = np.array(index)
        keys = SampleKeys(0 * index, index, 0 * index)
        found.append(MultiBlockMask()(
            make_context(keys=keys, grid=(14, 14), views=1)))
    first, second = found
    assert torch.equal(first.hidden[0], second.hidden[0])
    assert first.num_dropped < second.num_dropped


def test_a_row_gives_up_targets_that_cover_its_context(make_context):
    """Targets nearly as large as the context leave too little of it."""
    generator = MultiBlockMask(
        4, target_scale=(0.3, 0.3), target_aspect=(1.0, 1.0),
        context_scale=(0.6, 0.6), min_keep=10, attempts=2)
    generator.check((8, 8))
    context = make_context(batch=60, views=1, grid=(8, 8))
    hidden, visible = generator._blocks(context)
    assert (visible.sum((1, 2)) > 10).all()
    assert not (hidden & visible).any()
    four = generator._targets(context).any(1).sum((1, 2))
    given_up = hidden.sum((1, 2)) < four
    assert given_up.any()
    assert not given_up.all()


@pytest.mark.parametrize('settings, grid, message', [
    ({}, (4, 4), 'min_keep=10'),
    ({}, (1, 196), 'at least 2 cells'),
    ({'keep': 0.5}, (14, 14), 'keep=0.5'),
])
def test_refuses_grids_that_are_too_small(settings, grid, message):
    with pytest.raises(ConfigError, match=message):
        MultiBlockMask(**settings).check(grid)


@pytest.mark.parametrize('wrong', [
    {'num_targets': 0}, {'target_scale': (0.3, 0.2)}, {'keep': 0.0},
    {'context_scale': (0.9, 1.2)}, {'attempts': 0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        MultiBlockMask(**wrong)
