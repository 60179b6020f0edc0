"""Focal masks, and mixtures of generators."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import FocalMask, MaskContext, MixedMask, build_generator

SALIENCY = dict(type='SaliencyMask', guided=False, ratio=0.3)


def context_of(grid=(28, 42), rows=6, step=0):
    return MaskContext(grid=grid, batch_size=rows,
                       draws=HashDraws(0, step, SampleKeys.arange(rows)))


@pytest.mark.property
@pytest.mark.parametrize('grid', [(28, 42), (1, 5), (9, 9)])
@pytest.mark.parametrize('side', [200 / 224, 0.3, 1.0])
def test_squares_lie_anywhere(grid, side):
    rows = 2000
    length = max(1, round(side * min(grid)))
    for hide in ('inside', 'outside'):
        mask = FocalMask(side, hide)(context_of(grid, rows))
        square = mask.hidden if hide == 'inside' else ~mask.hidden
        assert (square.flatten(1).sum(1) == length**2).all()
        assert (mask.boxes[:, 2:] - mask.boxes[:, :2] == length).all()
        for axis, place in ((0, mask.boxes[:, 1]), (1, mask.boxes[:, 0])):
            found = torch.bincount(place.long())
            places = grid[axis] - length + 1
            assert len(found) == places
            expected = rows / places
            assert (found - expected).abs().max() < 5 * expected**0.5 + 1


@pytest.mark.property
def test_a_row_has_the_mask_of_its_kind():
    parts = [dict(type='FocalMask', side=0.5), SALIENCY,
             dict(SALIENCY, channelwise=True)]
    mixed = MixedMask(parts, (0.3, 0.3, 0.4), cells=(4, 6))
    context = context_of(rows=200)
    mask = mixed(context)
    assert mask.hidden.shape == (200, 3, 28, 42)
    share = torch.bincount(mask.kind, minlength=3) / 200
    assert (share - torch.tensor([0.3, 0.3, 0.4])).abs().max() < 0.15
    coarse = context_of((4, 6), 200)
    for number, part in enumerate(map(build_generator, parts)):
        rows = torch.where(mask.kind == number)[0]
        alone = part(context if part.pixels else coarse)
        hidden = alone.hidden
        if not part.pixels:
            hidden = hidden.repeat_interleave(7, 2).repeat_interleave(7, 3)
        assert torch.equal(mask.hidden[rows],
                           hidden.expand(-1, 3, -1, -1)[rows])
        boxes = mask.boxes[rows]
        if part.pixels:
            assert torch.equal(boxes, alone.boxes[rows])
        else:
            assert not boxes.any()


@pytest.mark.unit
def test_without_pixels_the_grid_is_the_context_s():
    mixed = MixedMask([SALIENCY, dict(type='BlockMask', ratio=0.5)],
                      (1.0, 0.0), cells=7)
    assert not mixed.pixels
    mixed.check((5, 5))
    mask = mixed(context_of((5, 5)))
    assert mask.grid == (5, 5)
    assert mask.cells is None
    assert np.array_equal(mask.kind.numpy(), np.zeros(6))


@pytest.mark.unit
@pytest.mark.parametrize('parts, probs, message', [
    ([], (), 'needs at least one'),
    ([SALIENCY], (0.5, 0.5), '1 generators with 2 probs'),
    ([SALIENCY] * 2, (0.5, 0.6), 'their sum is 1.1'),
    ([SALIENCY] * 2, (1.5, -0.5), 'probs=1.5'),
    ([dict(type='UniformCellMask')], (1.0,), 'UniformCellMask cannot be'),
    ([dict(type='MixedMask', generators=[SALIENCY], probs=[1.0])], (1.0,),
     'a mixture itself'),
])
def test_wrong_settings(parts, probs, message):
    with pytest.raises(ConfigError, match=message):
        MixedMask(parts, probs)


@pytest.mark.unit
def test_what_a_square_refuses():
    with pytest.raises(ConfigError, match=r'side=1\.2'):
        FocalMask(1.2)
    with pytest.raises(ConfigError, match='allowed: outside, inside'):
        FocalMask(hide='in')
    with pytest.raises(ConfigError, match='28 x 42 pixels has no 5 x 5'):
        MixedMask([dict(type='FocalMask')], (1.0,), cells=5).check((28, 42))
