"""Closed-form schedules against the reference's tables."""
from __future__ import annotations

import math

import pytest

from mimplug.errors import ConfigError
from mimplug.schedules import (
    LinearThenConstant,
    Progress,
    linear_then_constant,
    warmup_cosine,
)


@pytest.mark.golden('attmask_ibot', 'schedules')
def test_reference_tables(golden):
    columns = golden['columns'].tolist()
    names = [name for name in golden.names('') if f'{name}/params' in golden]
    assert names
    for name in names:
        row = dict(zip(columns, golden[f'{name}/params'].tolist()))
        expected = golden[f'{name}/values'].tolist()
        warmup = int(row['warmup_epochs'] * row['niter_per_ep'])
        values = [
            warmup_cosine(i, row['base_value'], row['final_value'],
                          len(expected), warmup, row['start_warmup_value'])
            for i in range(len(expected))]
        assert values == pytest.approx(expected, rel=0, abs=1e-12), name


@pytest.mark.unit
def test_warm_up_includes_its_end_and_the_end_is_never_reached():
    values = [warmup_cosine(i, 1.0, 0.1, 8, 3) for i in range(8)]
    assert values[:4] == [0.0, 0.5, 1.0, 1.0]
    assert values[-1] > 0.1
    assert sorted(values[3:], reverse=True) == values[3:]
    assert warmup_cosine(8, 1.0, 0.1, 8, 3) == 0.1
    assert warmup_cosine(99, 1.0, 0.1, 8, 3) == 0.1


@pytest.mark.unit
def test_short_schedules():
    assert warmup_cosine(0, 1.0, 0.1, 4, 1, 0.2) == 0.2
    assert warmup_cosine(1, 1.0, 0.1, 4, 1, 0.2) == 1.0
    # Nothing but a warm-up.
    assert [warmup_cosine(i, 1.0, 0.1, 2, 2) for i in range(3)] == [
        0.0, 1.0, 0.1]


@pytest.mark.unit
def test_linear_then_constant():
    values = [linear_then_constant(e, 0.04, 0.07, 4, 2) for e in range(9)]
    assert values == pytest.approx(
        [0.04, 0.04, 0.04, 0.05, 0.06, 0.07, 0.07, 0.07, 0.07])
    assert linear_then_constant(0, 0.04, 0.07, 0) == 0.07
    assert linear_then_constant(0, 0.04, 0.07, 1) == 0.04
    assert linear_then_constant(1, 0.04, 0.07, 1) == 0.07


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(start=0.0, final=0.1), 'start and final must be > 0'),
    (dict(start=0.1, final=-0.1), 'start and final must be > 0'),
    (dict(start=0.1, final=0.1, warmup_epochs=-1), 'epochs must be >= 0'),
    (dict(start=0.1, final=0.1, hold_epochs=-2), 'epochs must be >= 0'),
])
def test_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        LinearThenConstant(**kwargs)


@pytest.mark.unit
def test_fraction_of_a_run():
    assert Progress().fraction == 0
    assert Progress(step=3, max_steps=4).fraction == 0.75
    assert Progress(step=9, max_steps=4).fraction == 1
    assert math.isclose(Progress(step=1, max_steps=3).fraction, 1 / 3)


@pytest.mark.unit
def test_schedules_leave_skipped_steps_out():
    progress = Progress(step=7, max_steps=10, skipped=3)
    assert (progress.schedule_step, progress.fraction) == (4, 0.7)
    assert Progress(step=2, skipped=3).schedule_step == 0
    assert Progress(step=2).schedule_step == 2
