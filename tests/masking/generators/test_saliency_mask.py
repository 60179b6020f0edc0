"""Saliency masks: numbers of the release, sets, ranges, wrong settings."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import MaskContext, SaliencyMask, scda_foreground

GRID = (7, 7)


def context_of(rows=64, grid=GRID, seed=0):
    saliency = torch.randn(
        rows, *grid, generator=torch.Generator().manual_seed(seed))
    return MaskContext(
        grid=grid, batch_size=rows, saliency=saliency,
        draws=HashDraws(seed, 0, SampleKeys.arange(rows)))


@pytest.mark.golden('saliency_moco', 'counts')
@pytest.mark.parametrize('strategy', ['hp', 'blur'])
@pytest.mark.parametrize('mode', ['balanced', 'foreground'])
def test_numbers_of_the_release(golden, strategy, mode):
    rows = ((golden['strategy'] == ('hp', 'blur').index(strategy))
            & (golden['mode'] == ('balanced', 'foreground').index(mode)))
    assert rows.any()
    ratios = torch.from_numpy(golden['mask_ratio'][rows])
    if strategy == 'hp':  # Python's numbers; the others are tensors
        ratios = ratios.double()
    total = torch.from_numpy(golden['n_fg'][rows])
    cap = 0.55 if strategy == 'hp' else None
    wanted = [golden[name][rows] for name in (
        'fg_num', 'bg_num', 'n_fg_masked', 'n_bg_masked')]
    generator = SaliencyMask(mode=mode, cap=cap)
    front, back = generator.numbers(ratios, total, 49)
    assert np.array_equal(front.numpy(), wanted[0])
    if mode == 'balanced':
        there = 49 - golden['n_fg'][rows]
        assert np.array_equal(back.numpy(), wanted[1].clip(0, there))
    else:
        assert not back.any()
    compat = SaliencyMask(mode=mode, cap=cap, list_compat=True)
    front, back = compat.numbers(ratios, total, 49)
    assert np.array_equal(front.numpy(), wanted[2])
    assert np.array_equal(back.numpy(), wanted[3])


@pytest.mark.property
@pytest.mark.parametrize('mode', ['balanced', 'foreground'])
@pytest.mark.parametrize('channelwise', [False, True])
@pytest.mark.parametrize('grid', [(7, 7), (4, 9), (1, 5), (1, 1)])
def test_hides_as_many_of_both_sets(mode, channelwise, grid):
    context = context_of(grid=grid)
    generator = SaliencyMask(mode=mode, channelwise=channelwise)
    hidden = generator(context).hidden.flatten(2)
    front = scda_foreground(context.saliency).flatten(1)
    total = front.sum(1)
    ratios = torch.from_numpy(generator.ratio(context))
    wanted = generator.numbers(ratios, total, front.shape[1])
    for cells, number in zip((front, ~front), wanted):
        got = (hidden & cells[:, None]).sum(2)
        assert (got == number[:, None]).all()
    if mode == 'foreground':
        assert not (hidden & ~front[:, None]).any()
    if channelwise and grid == GRID:
        assert (hidden[:, 0] != hidden[:, 1]).any(1).sum() > 32


@pytest.mark.property
def test_every_cell_of_a_set_is_as_likely():
    foreground = torch.zeros(1, *GRID)
    foreground[:, :3] = 1.0
    rows = 4000
    context = MaskContext(
        grid=GRID, batch_size=rows, saliency=foreground.expand(rows, -1, -1),
        draws=HashDraws(3, 0, SampleKeys.arange(rows)))
    generator = SaliencyMask(0.25, num_stds=0.0)
    share = generator(context).hidden.float().mean((0, 1))
    # round(21 / 4) of 21 cells, floor(49 / 4) - 5 of 28
    error = 5 * (0.25 / rows)**0.5
    assert (share[:3] - 5 / 21).abs().max() < error
    assert (share[3:] - 7 / 28).abs().max() < error


@pytest.mark.unit
def test_ranges_of_the_ratio():
    for mode, ends in (('balanced', (0.05, 0.25)), ('foreground', (0.4, 0.7))):
        np.testing.assert_allclose(
            SaliencyMask(mode=mode).ratio.bounds, ends)
    np.testing.assert_allclose(
        SaliencyMask((0.0, 0.5)).ratio.bounds, (0.0, 0.5))
    assert SaliencyMask(0.3).ratio.bounds == (0.3, 0.3)
    drawn = SaliencyMask().ratio(context_of(500))
    assert 0.05 <= drawn.min() < 0.07
    assert 0.23 < drawn.max() <= 0.25


@pytest.mark.unit
def test_unguided_looks_at_nothing_and_takes_all_cells():
    generator = SaliencyMask(0.3, guided=False)
    assert not generator.needs.saliency
    context = MaskContext(grid=GRID, batch_size=5,
                          draws=HashDraws(0, 0, SampleKeys.arange(5)))
    assert (generator(context).hidden.flatten(1).sum(1) == 15).all()


@pytest.mark.unit
@pytest.mark.parametrize('settings, message', [
    (dict(mode='neg'), 'allowed: balanced, foreground'),
    (dict(ratio=(0.5, 0.2)), r'ratio\[0\]=0.5: allowed is \[0.0, 0.2\]'),
    (dict(ratio=(0.5, 1.2)), r'ratio\[1\]=1.2'),
    (dict(cap=1.5), 'cap=1.5'),
    (dict(apply_prob=2), 'apply_prob=2'),
])
def test_wrong_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        SaliencyMask(**settings)


@pytest.mark.unit
def test_a_missing_map_is_named():
    context = MaskContext(grid=GRID, batch_size=1,
                          draws=HashDraws(0, 0, SampleKeys.arange(1)))
    with pytest.raises(ConfigError, match='needs saliency'):
        SaliencyMask()(context)


@pytest.mark.unit
def test_the_precision_of_the_ratio_rounds_the_number_of_all_cells():
    """float32(1/49) * 49 is 1 in float32, and less in float64."""
    generator = SaliencyMask()
    ratio, total = torch.tensor([1 / 49]), torch.tensor([20])
    assert generator.numbers(ratio, total, 49)[1].item() == 1
    exact = ratio.double() * 49
    assert generator.numbers(ratio.double(), total, 49)[1].item() == int(
        exact.floor())
