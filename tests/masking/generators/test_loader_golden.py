"""Block-wise and random masks of the released loader, and statistics."""
from __future__ import annotations

import numpy as np
import pytest

from mimplug.draws import PythonRandomDraws
from mimplug.masking import BlockMask, RandomMask

GENERATORS = {'block': BlockMask, 'rand': RandomMask}
RATIOS = {
    'fixed': 0.4, 'uniform': (0.3, 0.2), 'list': [(0, 0), (0.3, 0.2)]}


@pytest.mark.golden('attmask_ibot', 'loader_masks')
@pytest.mark.parametrize('shape', GENERATORS)
@pytest.mark.parametrize('setting', RATIOS)
def test_reference_masks(golden, setting, shape, make_context):
    expected = golden[f'{shape}_{setting}/masks']
    context = make_context(
        batch=len(expected), views=1, grid=tuple(golden['grid'].tolist()),
        draws=PythonRandomDraws(golden.scalar('seed')))
    mask = GENERATORS[shape](RATIOS[setting])(context)
    np.testing.assert_array_equal(mask.hidden[:, 0].numpy(), expected)
    assert mask.capacity == expected.sum()


@pytest.mark.golden('attmask_ibot', 'loader_masks')
@pytest.mark.parametrize('shape', GENERATORS)
@pytest.mark.parametrize('setting', RATIOS)
def test_reference_statistics_with_other_numbers(
        golden, setting, shape, make_context):
    grid = tuple(golden['grid'].tolist())
    mask = GENERATORS[shape](RATIOS[setting])(
        make_context(batch=4000, grid=grid))
    cells = mask.hidden[:, 0].numpy()
    share = cells.mean((1, 2))
    key = f'{shape}_{setting}/'
    for name, value, tolerance in [
            ('mean_mask_fraction_4000', share.mean(), 0.01),
            ('std_mask_fraction_4000', share.std(), 0.01),
            ('frac_empty_4000', (share == 0).mean(), 0.03)]:
        assert value == pytest.approx(
            golden.scalar(key + name), abs=tolerance), name
    np.testing.assert_allclose(
        cells.mean(0), golden[key + 'cell_freq_4000'], atol=0.04)
