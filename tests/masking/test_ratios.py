"""Ratio samplers: range, sharing, schedules and the reference's numbers."""
from __future__ import annotations

import numpy as np
import pytest

from mimplug.draws import PythonRandomDraws, ReplayDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    ChoiceRatio,
    DelayedRatio,
    FixedRatio,
    ScheduledRatio,
    StratifiedRatio,
    UniformRatio,
    build_ratio,
)
from mimplug.schedules import Progress

IBOT = ((0.0, 0.0), (0.3, 0.2))
SAMPLERS = {
    'fixed': FixedRatio(0.4),
    'uniform': UniformRatio(0.3, 0.2),
    'list': ChoiceRatio(IBOT),
}


@pytest.mark.unit
def test_build_ratio_understands_numbers_pairs_and_lists():
    assert build_ratio(0.3).value == 0.3
    assert build_ratio(1).value == 1.0
    pair = build_ratio((0.3, 0.2))
    assert (pair.mean, pair.var, pair.per) == (0.3, 0.2, 'view')
    assert build_ratio([0.3, 0.2]).var == 0.2
    assert build_ratio([(0, 0), [0.3, 0.2]]).entries == ((0, 0), (0.3, 0.2))
    assert build_ratio(pair) is pair
    for scope in ('', 'mimplug.'):
        config = dict(type=f'{scope}UniformRatio', mean=0.5, per='batch')
        assert build_ratio(config).per == 'batch'


@pytest.mark.unit
@pytest.mark.parametrize('config, message', [
    (1.2, r'ratio=1.2: allowed is \[0.0, 1.0\]'),
    (-0.1, 'ratio=-0.1'),
    ((0.3, 0.4), r'var \(with mean=0.3\)=0.4'),
    ((0.8, 0.3), 'var'),
    ([(0.1, 0.2)], 'var'),
    ([], 'needs pairs'),
    ([0.1, 0.2, 0.3], 'needs pairs'),
    ('high', 'needs a dict with a type'),
    (True, 'needs a dict with a type'),
    (dict(type='UniformRation', mean=0.1), "did you mean 'UniformRatio'"),
    (dict(type='BlockMask'), 'of another kind'),
    (dict(type='UniformRatio', mean=0.1, per='batches'),
     "did you mean 'batch'"),
    (dict(type='UniformRatio', man=0.1), "did you mean 'mean'"),
    (dict(type='UniformRatio'), 'needs mean'),
    (dict(type='StratifiedRatio', low=0.6, high=0.5), 'low=0.6'),
    (dict(type='ScheduledRatio', start=0, end=1, curve='line'),
     "did you mean 'linear'"),
    (dict(type='DelayedRatio', ratio=0.3, start_epoch=-1), 'start_epoch=-1'),
])
def test_wrong_ratio(config, message):
    with pytest.raises(ConfigError, match=message):
        build_ratio(config)


@pytest.mark.unit
def test_full_range_in_spite_of_rounding(make_context):
    ratios = UniformRatio(0.7, 0.3)(make_context(batch=500))
    assert ratios.max() <= 1
    assert ratios.max() > 0.99


@pytest.mark.property
@pytest.mark.parametrize('sampler', [
    lambda per: UniformRatio(0.3, 0.2, per),
    lambda per: ChoiceRatio([(0.2, 0.1), (0.7, 0.1), (0.4, 0.1)], per)])
@pytest.mark.parametrize('per, different', [
    ('view', 10), ('image', 5), ('batch', 1), ('rank', 1)])
def test_per_says_who_shares_a_draw(sampler, per, different, make_context):
    ratios = sampler(per)(make_context(batch=5))
    assert ratios.shape == (10,)
    assert len(set(ratios)) == different
    if per == 'image':
        np.testing.assert_array_equal(ratios[:5], ratios[5:])


@pytest.mark.property
@pytest.mark.parametrize('per, equal', [('batch', True), ('rank', False)])
def test_only_per_rank_differs_between_ranks(per, equal, make_context):
    sampler = UniformRatio(0.3, 0.2, per)
    values = {
        sampler(make_context(
            keys=SampleKeys.arange(2, rank=rank), rank=rank))[0]
        for rank in range(3)}
    assert (len(values) == 1) is equal


@pytest.mark.unit
def test_name_gives_another_draw(make_context):
    sampler, context = UniformRatio(0.3, 0.2), make_context()
    assert (sampler(context) != sampler(context, 'show_ratio')).all()
    np.testing.assert_array_equal(sampler(context), sampler(context))


@pytest.mark.unit
def test_no_width_takes_no_draw(make_context):
    context = make_context(draws=ReplayDraws({'ratio/0': 0.3}))
    assert set(UniformRatio(0.25)(context)) == {0.25}
    assert set(ChoiceRatio([(0.25, 0)])(context)) == {0.25}
    # One entry leaves nothing to choose.
    assert set(ChoiceRatio([(0.3, 0.1)])(context)) == {0.3}


@pytest.mark.unit
def test_replay(make_context):
    draws = ReplayDraws({'ratio': 0.25, 'ratio/1': 0.3, 'ratio/choice': 1})
    context = make_context(draws=draws)
    assert set(UniformRatio(0.3, 0.2, 'rank')(context)) == {0.25}
    assert set(ChoiceRatio(IBOT)(context)) == {0.3}


@pytest.mark.property
def test_choice_uses_every_entry_equally(make_context):
    ratios = ChoiceRatio([(0.1, 0), (0.5, 0), (0.9, 0)])(
        make_context(batch=3000))
    values, counts = np.unique(ratios, return_counts=True)
    assert values.tolist() == [0.1, 0.5, 0.9]
    assert abs(counts / 6000 - 1 / 3).max() < 0.03


@pytest.mark.property
@pytest.mark.parametrize('batch', [1, 2, 7, 64])
def test_stratified_fills_the_range_evenly(batch, make_context):
    sampler = StratifiedRatio(0.1, 0.5, prob=0.5)
    assert sampler.batch_coupled
    for step in range(5):
        keys = SampleKeys.arange(batch, step)
        ratios = sampler(make_context(keys=keys))
        masked = np.sort(ratios[ratios > 0])
        assert len(masked) == batch
        bins = np.floor((masked - 0.1) / 0.4 * batch)
        assert bins.tolist() == list(range(batch))


@pytest.mark.property
def test_stratified_deals_bins_at_random(make_context):
    sampler = StratifiedRatio(0.1, 0.5)
    rows = np.stack([
        sampler(make_context(keys=SampleKeys.arange(4, step)))
        for step in range(800)])
    assert abs((rows > 0).mean(0) - 0.5).max() < 0.09
    assert abs(rows.mean(0) - 0.15).max() < 0.03


@pytest.mark.unit
@pytest.mark.parametrize('curve, quarter', [
    ('linear', 0.3), ('cosine', 0.2 + 0.4 * (1 - 0.5**0.5) / 2)])
def test_schedule(curve, quarter, make_context):
    sampler = ScheduledRatio(0.2, 0.6, curve)

    def at(step):
        return sampler(make_context(progress=Progress(step, 100)))[0]

    assert at(0) == 0.2
    assert at(25) == pytest.approx(quarter)
    assert at(50) == pytest.approx(0.4)
    assert at(100) == at(500) == pytest.approx(0.6)


@pytest.mark.unit
def test_schedule_interpolates_ranges(make_context):
    sampler = ScheduledRatio((0.2, 0.1), (0.6, 0.3))
    ratios = sampler(make_context(batch=400, progress=Progress(5, 10)))
    expected = UniformRatio(0.4, 0.2)(make_context(batch=400))
    np.testing.assert_allclose(ratios, expected, atol=1e-12)


@pytest.mark.unit
def test_wrappers_know_coupling():
    assert ScheduledRatio(0.1, StratifiedRatio()).batch_coupled
    assert DelayedRatio(StratifiedRatio(), 3).batch_coupled
    assert not DelayedRatio(ScheduledRatio(0.1, 0.2), 3).batch_coupled


@pytest.mark.golden('attmask_ibot', 'loader_masks')
def test_reference_ratios(golden, make_context):
    for name, sampler in SAMPLERS.items():
        first = golden[f'ratio_{name}/first32']
        context = make_context(
            batch=len(first), views=1,
            draws=PythonRandomDraws(golden.scalar('seed')))
        ratios = np.concatenate(
            [sampler(part) for part in context.parts()])
        np.testing.assert_array_equal(ratios, first, err_msg=name)


@pytest.mark.golden('attmask_ibot', 'loader_masks')
def test_reference_ratio_statistics(golden, make_context):
    for name, sampler in SAMPLERS.items():
        ratios = sampler(make_context(batch=20000, views=1))
        for statistic, value, tolerance in [
                ('mean', ratios.mean(), 0.01), ('std', ratios.std(), 0.01),
                ('frac_zero', (ratios == 0).mean(), 0.03)]:
            assert value == pytest.approx(
                golden.scalar(f'ratio_{name}/{statistic}'), abs=tolerance)


@pytest.mark.golden('attmask_ibot', 'loader_masks')
def test_no_ratio_before_the_start_epoch(golden, make_context):
    expected = golden.scalar('ratio_before_start_epoch')
    sampler = DelayedRatio((0.3, 0.2), start_epoch=5)
    for epoch in (0, 4):
        progress = Progress(epoch=epoch, max_epochs=10)
        ratios = sampler(make_context(progress=progress))
        assert set(ratios) == {expected}
    progress = Progress(epoch=5, max_epochs=10)
    assert sampler(make_context(progress=progress)).min() >= 0.1


@pytest.mark.property
@pytest.mark.parametrize('config', [
    0.4, (0.3, 0.2), (0.9, 0.1), IBOT, [(0.5, 0.1), (0.2, 0.2)],
    dict(type='StratifiedRatio', low=0.2, high=0.7, prob=1.0),
    dict(type='StratifiedRatio', low=0.2, high=0.7),
    dict(type='ScheduledRatio', start=(0.2, 0.1), end=0.8),
    dict(type='DelayedRatio', ratio=(0.5, 0.1), start_epoch=1),
    dict(type='DelayedRatio', ratio=(0.5, 0.1), start_epoch=0)])
def test_bounds_are_tight(config, make_context):
    """Nothing lies outside, and both ends are nearly reached."""
    sampler = build_ratio(config)
    drawn = np.concatenate([
        sampler(make_context(batch=500, progress=progress))
        for progress in (Progress(0, 10, 0, 2), Progress(10, 10, 1, 2))])
    low, high = sampler.bounds
    assert 0 <= low <= drawn.min() < low + 0.01
    assert high - 0.01 < drawn.max() <= high <= 1
