"""Block-wise masks: the rule and its limits."""
from __future__ import annotations

import numpy as np
import pytest

from mimplug.draws import ReplayDraws
from mimplug.errors import ConfigError
from mimplug.masking import BlockMask, UniformRatio


@pytest.mark.property
@pytest.mark.parametrize('grid', [(14, 14), (6, 6), (16, 5), (3, 20), (2, 2)])
@pytest.mark.parametrize('kwargs', [
    {}, dict(min_area=4, max_area=0.5), dict(min_aspect=1.0, attempts=3)])
def test_budget_is_never_exceeded(grid, kwargs, make_context):
    context = make_context(batch=60, grid=grid)
    generator = BlockMask((0.4, 0.3), **kwargs)
    generator.check(grid)
    hidden = generator(context).tokens.sum(1).numpy()
    budget = generator.ratio(context) * grid[0] * grid[1]
    assert (hidden <= budget).all()
    if min(grid) >= 6:
        assert hidden.mean() > 0.8 * budget.mean()


@pytest.mark.unit
def test_one_block_by_hand(make_context):
    # Area 12, aspect 3: sqrt(36) = 6 rows and sqrt(4) = 2 columns. The
    # budget 0.25 * 48 = 12 is used up by it.
    draws = ReplayDraws({
        'block/area': 12.0, 'block/aspect': np.log(3.0), 'block/top': 1,
        'block/left': 3})
    mask = BlockMask(0.25)(make_context(
        batch=1, views=1, grid=(8, 6), draws=draws))
    expected = np.zeros((8, 6), bool)
    expected[1:7, 3:5] = True
    np.testing.assert_array_equal(mask.hidden[0, 0].numpy(), expected)


@pytest.mark.unit
def test_a_row_ends_after_failed_attempts(make_context):
    # Every attempt repeats the first block, so the second adds nothing.
    names = ('area', 'aspect', 'top', 'left')
    values = {f'block/{name}': value
              for name, value in zip(names, (4.0, 0.0, 0, 0))}
    for n in range(1, 4):
        values |= {f'block/{name}/{n}': values[f'block/{name}']
                   for name in names}
    mask = BlockMask(0.5, attempts=3)(make_context(
        batch=1, views=1, grid=(6, 6), draws=ReplayDraws(values)))
    # A fifth attempt would ask for a number that is not there.
    assert mask.capacity == mask.hidden.sum() == 4


@pytest.mark.property
def test_largest_block_is_bounded(make_context):
    small = BlockMask(0.6, max_area=0.05, min_area=1)
    large = BlockMask(0.6)
    context = make_context(batch=40, grid=(14, 14))

    def edges(mask):
        cells = mask.hidden[:, 0].int()
        return (cells.diff(dim=1).abs().sum()
                + cells.diff(dim=2).abs().sum()).item()

    assert edges(small(context)) > 1.5 * edges(large(context))


@pytest.mark.property
def test_apply_probability(make_context):
    generator = BlockMask(0.4, apply_prob=0.25)
    hidden = generator(make_context(batch=1000)).tokens.any(1)
    assert hidden.float().mean().item() == pytest.approx(0.25, abs=0.05)


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(ratio=1.5), 'ratio=1.5'),
    (dict(apply_prob=-1), 'apply_prob=-1'),
    (dict(min_area=0), 'min_area=0'),
    (dict(max_area=0), 'max_area=0'),
    (dict(min_aspect=2), 'min_aspect=2'),
    (dict(attempts=0), 'attempts=0'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        BlockMask(**kwargs)


@pytest.mark.unit
def test_grid_must_hold_a_block():
    with pytest.raises(ConfigError, match=r'grid=\(1, 9\)'):
        BlockMask().check((1, 9))


@pytest.mark.unit
def test_default_is_the_published_setting():
    entries = BlockMask().ratio.entries
    assert entries == ((0.0, 0.0), (0.3, 0.2))
    assert isinstance(BlockMask((0.3, 0.2)).ratio, UniformRatio)


@pytest.mark.property
def test_rolling_only_shifts(make_context):
    """DINOv3's option: the same blocks, cut at the border and continued."""
    context = make_context(batch=400, views=1, grid=(6, 6))
    plain, rolled = (BlockMask(0.5, roll=roll)(context) for roll in (
        False, True))
    assert rolled.capacity == plain.capacity
    shifts = context.draws.row_integers('roll/y', 0, 5)
    sideways = context.draws.row_integers('roll/x', 0, 5)
    for row in range(20):
        expected = plain.hidden[row, 0].roll(
            (int(shifts[row]), int(sideways[row])), (0, 1))
        assert (rolled.hidden[row, 0] == expected).all()
    # blocks lie in the middle more often than in corners
    assert plain.hidden.float().mean(0).std() > 0.05
    assert rolled.hidden.float().mean(0).std() < 0.04
