"""Learning rate and weight decay through a real optimiser wrapper."""
from __future__ import annotations

import math

import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from mimplug.engine.optim import (
    CosineWeightDecay,
    TwoGroupConstructor,
    WarmupCosine,
    WarmupCosineLR,
)
from mimplug.errors import ConfigError
from mimplug.schedules import warmup_cosine


def wrapped(lr=0.1, weight_decay=0.04, accumulation=1, **lr_mult):
    """A wrapper with a decayed and a plain group."""
    model = nn.Linear(2, 2)
    paramwise_cfg = dict(lr_mult=lr_mult) if lr_mult else None
    return model, TwoGroupConstructor(dict(
        optimizer=dict(type='AdamW', lr=lr, weight_decay=weight_decay),
        accumulative_counts=accumulation), paramwise_cfg)(model)


def run(model, wrapper, schedulers, iterations):
    """Values of the first group in each iteration."""
    seen = []
    for _ in range(iterations):
        group = wrapper.optimizer.param_groups[0]
        seen.append((group['lr'], group['weight_decay']))
        wrapper.update_params(model(torch.ones(1, 2)).sum())
        for scheduler in schedulers:
            scheduler.step()
    return seen


@pytest.mark.golden('attmask_ibot', 'schedules')
def test_reference_tables(golden):
    columns = golden['columns'].tolist()
    names = [name for name in golden.names('') if f'{name}/params' in golden]
    for name in names:
        row = dict(zip(columns, golden[f'{name}/params'].tolist()))
        expected = golden[f'{name}/values'].tolist()
        epoch_length = int(row['niter_per_ep'])
        model, wrapper = wrapped(lr=row['base_value'],
                                 weight_decay=row['base_value'])
        common = dict(final=row['final_value'], by_epoch=False,
                      end=len(expected), start=row['start_warmup_value'],
                      warmup=int(row['warmup_epochs'] * epoch_length))
        schedulers = [WarmupCosineLR(wrapper, **common),
                      CosineWeightDecay(wrapper, **common)]
        seen = run(model, wrapper, schedulers, len(expected))
        for values in zip(*seen):
            assert list(values) == pytest.approx(expected, rel=0, abs=1e-12)
        # And with lengths in epochs, as configs write them.
        other, wrapper = wrapped(lr=row['base_value'])
        converted = WarmupCosine.build_iter_from_epoch(
            wrapper, 'lr', epoch_length=epoch_length, end=row['epochs'],
            warmup=row['warmup_epochs'], final=row['final_value'],
            start=row['start_warmup_value'])
        values = [lr for lr, _ in run(
            other, wrapper, [converted], len(expected))]
        assert values == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.unit
def test_values_move_only_with_the_optimiser():
    model, wrapper = wrapped(accumulation=3)
    lr = WarmupCosineLR(wrapper, final=0.01, end=11, warmup=6,
                        by_epoch=False)
    wrapper.initialize_count_status(model, 0, 11)
    seen = [value for value, _ in run(model, wrapper, [lr], 11)]
    # ceil(11 / 3) = 4 optimiser steps, two of them warm-up.
    expected = [warmup_cosine(i // 3, 0.1, 0.01, 4, 2) for i in range(11)]
    assert seen == pytest.approx(expected, abs=1e-15)
    assert seen[:4] == [0, 0, 0, 0.1]


@pytest.mark.unit
@pytest.mark.parametrize('accumulation', [1, 2])
def test_known_skipped_steps_are_counted_back(accumulation):
    model, wrapper = wrapped(accumulation=accumulation)
    lr = WarmupCosineLR(wrapper, final=0.01, end=10 * accumulation,
                        warmup=2 * accumulation, by_epoch=False)
    run(model, wrapper, [lr], 6 * accumulation)
    assert lr.index == 6
    wrapper.note_counts(4, 0)
    run(model, wrapper, [lr], accumulation)
    assert lr.index == 3
    assert wrapper.optimizer.param_groups[0]['lr'] == pytest.approx(
        warmup_cosine(3, 0.1, 0.01, 10, 2))
    wrapper.note_counts(40, 0)
    assert lr.index == 0


@pytest.mark.unit
@pytest.mark.parametrize('stop', [1, 4, 7])
def test_resumed_run_has_the_values_of_an_undisturbed_one(stop):
    def make():
        model, wrapper = wrapped(accumulation=2)
        return model, wrapper, [
            WarmupCosineLR(wrapper, final=0.01, end=10, warmup=4,
                           by_epoch=False),
            CosineWeightDecay(wrapper, final=0.4, end=10, by_epoch=False)]

    model, wrapper, schedulers = make()
    expected = run(model, wrapper, schedulers, 10)
    model, wrapper, schedulers = make()
    run(model, wrapper, schedulers, stop)
    states = [part.state_dict() for part in (wrapper, *schedulers)]
    other, wrapper, schedulers = make()
    for part, state in zip((wrapper, *schedulers), states):
        part.load_state_dict(state)
    wrapper.initialize_count_status(other, stop, 10)
    assert run(other, wrapper, schedulers, 10 - stop) == expected[stop:]


@pytest.mark.unit
def test_longer_resumed_run_follows_its_own_config():
    model, wrapper = wrapped()
    short = WarmupCosineLR(wrapper, final=0.0, end=5, by_epoch=False)
    run(model, wrapper, [short], 3)
    state = short.state_dict()
    model, wrapper = wrapped()
    long = WarmupCosineLR(wrapper, final=0.0, end=50, by_epoch=False)
    long.load_state_dict(state)
    wrapper.initialize_count_status(model, 3, 50)
    values = [lr for lr, _ in run(model, wrapper, [long], 5)]
    assert values[1:] == pytest.approx(
        [warmup_cosine(i, 0.1, 0.0, 50) for i in range(4, 8)])


@pytest.mark.unit
def test_value_is_final_after_the_end():
    model, wrapper = wrapped()
    lr = WarmupCosineLR(wrapper, final=0.01, end=3, by_epoch=False)
    run(model, wrapper, [lr], 3)
    assert wrapper.optimizer.param_groups[0]['lr'] == 0.01
    assert [value for value, _ in run(model, wrapper, [lr], 3)] == [0.01] * 3


@pytest.mark.unit
@pytest.mark.parametrize('base', [None, 0.3])
def test_groups_get_their_multiple(base):
    model, wrapper = wrapped(lr=0.1 if base is None else 0.77, weight=0.2)
    lr = WarmupCosineLR(wrapper, final=0.01, end=8, warmup=2, start=0.02,
                        base=base, by_epoch=False)
    for step in range(8):
        value = warmup_cosine(step, base or 0.1, 0.01, 8, 2, 0.02)
        for group in wrapper.optimizer.param_groups:
            assert group['lr'] == pytest.approx(value * group['lr_mult'])
        wrapper.update_params(model(torch.ones(1, 2)).sum())
        lr.step()
    assert {group['lr_mult'] for group in wrapper.optimizer.param_groups} == {
        0.2, 1.0}


@pytest.mark.unit
def test_weight_decay_leaves_the_plain_group_alone():
    model, wrapper = wrapped(weight=0.2)
    decay = CosineWeightDecay(wrapper, final=0.4, end=4, by_epoch=False)
    run(model, wrapper, [decay], 3)
    values = {group['name']: group['weight_decay']
              for group in wrapper.optimizer.param_groups}
    assert values['no_decay'] == 0
    # A factor on the learning rate is none on the decay.
    assert values['decay'] == pytest.approx(warmup_cosine(3, 0.04, 0.4, 4))


@pytest.mark.unit
def test_without_a_wrapper():
    parameter = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    lr = WarmupCosineLR(optimizer, final=0.0, end=4, warmup=2,
                        by_epoch=False)
    values = []
    for _ in range(4):
        values.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        lr.step()
    assert values == [0.0, 0.1, 0.1, 0.05]


@pytest.mark.unit
def test_built_as_the_runner_does():
    _, wrapper = wrapped()
    lr = PARAM_SCHEDULERS.build(
        dict(type='mimplug.WarmupCosineLR', warmup=2, final=1e-6,
             convert_to_iter_based=True, end=5),
        default_args=dict(optimizer=wrapper, epoch_length=7))
    assert (lr.total, lr.warmup, lr.by_epoch) == (35, 14, False)


@pytest.mark.unit
@pytest.mark.parametrize('warmup, end, accumulation, steps', [
    (0.1, 30, 1, 3), (0.29, 100, 1, 29), (0.25, 16, 4, 1),
    (0.5, 11, 3, 2), (0.1, 3, 1, 0), (6, 11, 3, 2), (0, 11, 3, 0)])
def test_warmup_as_a_share(warmup, end, accumulation, steps):
    _, wrapper = wrapped(accumulation=accumulation)
    lr = WarmupCosineLR(wrapper, final=0.0, warmup=warmup, end=end,
                        by_epoch=False)
    assert (lr.warmup, lr.total) == (steps, -(-end // accumulation))


@pytest.mark.unit
@pytest.mark.parametrize('warmup, steps', [
    (0.1, 4), (0.5, 18), (1, 3), (2.0, 7), (0, 0)])
def test_converted_warmup_as_a_share(warmup, steps):
    # 10 epochs of 14 iterations, 4 a step: the share is one of the run, not
    # of an epoch
    _, wrapper = wrapped(accumulation=4)
    lr = WarmupCosineLR.build_iter_from_epoch(
        wrapper, final=0.0, warmup=warmup, end=10, epoch_length=14)
    assert (lr.warmup, lr.total) == (steps, 35)


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(end=5), 'convert_to_iter_based=True'),
    (dict(end=5, warmup=6, by_epoch=False), 'warm-up of 6 .* run of 5'),
    (dict(end=5, warmup=-1, by_epoch=False), 'warm-up of -1'),
])
def test_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        WarmupCosineLR(wrapped()[1], final=0.0, **kwargs)


@pytest.mark.unit
def test_conversion_needs_epochs():
    with pytest.raises(ConfigError, match='by_epoch=False cannot'):
        WarmupCosineLR.build_iter_from_epoch(
            wrapped()[1], final=0.0, epoch_length=3, end=5, by_epoch=False)


@pytest.mark.unit
@pytest.mark.parametrize('accumulation', [1, 2, 4])
def test_cosine_per_epoch(accumulation):
    """lr (1 + cos(pi epoch / epochs)) / 2, as ``adjust_learning_rate`` of
    MoCo's main_moco.py."""
    model, wrapper = wrapped(accumulation=accumulation)
    epochs, length = 5, 6
    lr = WarmupCosineLR.build_iter_from_epoch(
        wrapper, epoch_length=length, end=epochs, hold=1, final=0.0)
    wrapper.initialize_count_status(model, 0, epochs * length)
    seen = [value for value, _ in run(model, wrapper, [lr], epochs * length)]
    # a step that begins in one epoch and ends in the next has one rate
    starts = [i // accumulation * accumulation for i in range(len(seen))]
    expected = [
        0.05 * (1 + math.cos(math.pi * (start // length) / epochs))
        for start in starts]
    assert seen == pytest.approx(expected, rel=1e-12)


@pytest.mark.unit
def test_groups_whose_rate_is_fixed():
    model, wrapper = wrapped()
    wrapper.optimizer.param_groups[1]['fix_lr'] = True
    lr = WarmupCosineLR(wrapper, final=0.0, end=4, by_epoch=False)
    run(model, wrapper, [lr], 3)
    decayed, fixed = wrapper.optimizer.param_groups
    assert decayed['lr'] < 0.1
    assert fixed['lr'] == 0.1
