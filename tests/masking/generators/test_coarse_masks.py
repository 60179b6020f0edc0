"""SimMIM, UM-MAE and checkerboards."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.errors import ConfigError
from mimplug.masking import CheckerboardMask, SimMIMMask, UniformCellMask

pytestmark = pytest.mark.unit


def cells_of(hidden, size):
    """(M, h, w, size * size) tokens of each coarse cell."""
    tiles = hidden[:, 0].unflatten(2, (-1, size)).unflatten(1, (-1, size))
    return tiles.permute(0, 1, 3, 2, 4).flatten(3)


def test_simmim_hides_whole_cells_and_rounds_up(make_context):
    """The published numbers: 192 px, cells of 32 px, 0.6 of 36 cells."""
    context = make_context(batch=50, grid=(48, 48))
    mask = SimMIMMask(cell=8)(context)
    cells = cells_of(mask.hidden, 8)
    assert torch.equal(cells.any(-1), cells.all(-1))
    assert (cells.any(-1).flatten(1).sum(1) == 22).all()
    assert mask.capacity == 100 * 22 * 64
    frequency = cells.any(-1).float().mean(0)
    assert (frequency - 22 / 36).abs().max() < 0.2


def test_simmim_count_has_no_rounding_accident():
    # 100 * 0.07 is a little more than 7
    assert SimMIMMask(0.07, cell=1).limits((10, 10)) == (7, 7)


def test_simmim_refuses_a_grid_that_does_not_divide():
    with pytest.raises(ConfigError, match=r'cell=2: the grid \(7, 6\)'):
        SimMIMMask(cell=2).check((7, 6))


@pytest.mark.parametrize('grid', [(6, 8), (5, 7), (1, 4)])
def test_um_mae_sees_one_token_of_every_cell(grid, make_context):
    context = make_context(batch=40, grid=grid)
    mask = UniformCellMask(0.25)(context)
    height, width = -(-grid[0] // 2), -(-grid[1] // 2)
    kept = torch.nn.functional.pad(
        ~mask.dropped, (0, grid[1] % 2, 0, grid[0] % 2))
    assert (cells_of(kept, 2).sum(-1) == 1).all()
    assert mask.num_dropped == grid[0] * grid[1] - height * width
    guessed = (mask.hidden & ~mask.dropped).flatten(1).sum(1)
    assert (guessed == int(0.25 * height * width)).all()


def test_um_mae_chooses_tokens_and_guesses_evenly(make_context):
    context = make_context(batch=1000, grid=(4, 4))
    mask = UniformCellMask(0.5)(context)
    seen = (~mask.dropped).float().mean(0)
    assert (seen - 0.25).abs().max() < 0.04
    assert (mask.hidden.float().mean(0) - 0.125).abs().max() < 0.03


def test_um_mae_without_dropping_hides_the_same(make_context):
    context = make_context(batch=8, grid=(4, 6))
    dropping = UniformCellMask(0.5)(context)
    hiding = UniformCellMask(0.5, drop=False)(context)
    assert hiding.dropped is None
    assert torch.equal(hiding.hidden, dropping.hidden | dropping.dropped)


def test_um_mae_refuses_to_predict_nothing():
    with pytest.raises(ConfigError, match='hides none'):
        UniformCellMask(0.25).check((2, 4))
    UniformCellMask(0.25, drop=False).check((2, 4))


def test_checkerboard(make_context):
    context = make_context(batch=1, views=1, grid=(3, 4))
    fine = CheckerboardMask(random_phase=False)(context).hidden[0, 0]
    assert fine.int().tolist() == [
        [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]
    coarse = CheckerboardMask(2, random_phase=False)(context).hidden[0, 0]
    assert coarse.int().tolist() == [
        [0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0]]


def test_checkerboard_has_two_phases(make_context):
    context = make_context(batch=200, views=1, grid=(4, 4))
    masks = CheckerboardMask()(context).hidden.flatten(1)
    kinds, counts = np.unique(masks.numpy(), axis=0, return_counts=True)
    assert len(kinds) == 2
    assert (kinds[0] ^ kinds[1]).all()
    assert counts.min() > 70


def test_checkerboard_refuses_a_single_cell():
    with pytest.raises(ConfigError, match='single cell'):
        CheckerboardMask(4).check((4, 3))
