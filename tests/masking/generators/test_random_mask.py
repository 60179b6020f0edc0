"""Random masks: the reference's exactly, exact counts, even cells."""
from __future__ import annotations

import numpy as np
import pytest

from mimplug.draws import PythonRandomDraws
from mimplug.masking import NoMask, RandomMask

RATIOS = {
    'fixed': 0.4, 'uniform': (0.3, 0.2), 'list': [(0, 0), (0.3, 0.2)]}


@pytest.mark.golden('attmask_ibot', 'loader_masks')
@pytest.mark.parametrize('setting', RATIOS)
def test_reference_masks(golden, setting, make_context):
    expected = golden[f'rand_{setting}/masks']
    context = make_context(
        batch=len(expected), views=1, grid=tuple(golden['grid'].tolist()),
        draws=PythonRandomDraws(golden.scalar('seed')))
    mask = RandomMask(RATIOS[setting])(context)
    np.testing.assert_array_equal(mask.hidden[:, 0].numpy(), expected)
    assert mask.capacity == expected.sum()


@pytest.mark.golden('attmask_ibot', 'loader_masks')
@pytest.mark.parametrize('setting', RATIOS)
def test_reference_statistics_with_other_numbers(
        golden, setting, make_context):
    grid = tuple(golden['grid'].tolist())
    mask = RandomMask(RATIOS[setting])(make_context(batch=4000, grid=grid))
    cells = mask.hidden[:, 0].numpy()
    share = cells.mean((1, 2))
    key = f'rand_{setting}/'
    for name, value, tolerance in [
            ('mean_mask_fraction_4000', share.mean(), 0.01),
            ('std_mask_fraction_4000', share.std(), 0.01),
            ('frac_empty_4000', (share == 0).mean(), 0.03)]:
        assert value == pytest.approx(
            golden.scalar(key + name), abs=tolerance), name
    np.testing.assert_allclose(
        cells.mean(0), golden[key + 'cell_freq_4000'], atol=0.04)


@pytest.mark.property
@pytest.mark.parametrize('ratio, count', [
    (0.0, 0), (1.0, 30), (0.3, 9), (0.33, 9), (0.02, 0)])
def test_exact_count(ratio, count, make_context):
    mask = RandomMask(ratio)(make_context())
    assert mask.tokens.sum(1).tolist() == [count] * 8
    assert mask.capacity == 8 * count


@pytest.mark.unit
def test_no_mask(make_context):
    mask = NoMask()(make_context(batch=3))
    assert (mask.batch, mask.grid, mask.capacity) == (6, (6, 5), 0)
    assert not mask.hidden.any()
