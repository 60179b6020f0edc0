"""Hooks in real runners: position, moving average, freezing."""
from __future__ import annotations

import itertools
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import HOOKS
from torch import nn
from torch.utils.data import DataLoader

from mimplug.engine.hooks import run_progress
from mimplug.errors import ConfigError
from mimplug.schedules import Progress, warmup_cosine

TEACHER = dict(type='mimplug.TeacherHook', momentum=0.9)


@pytest.mark.e2e
def test_position_of_every_iteration(make_runner):
    runner = make_runner([TEACHER], accumulation=2)
    runner.train()
    # 10 iterations in steps of 2; an epoch of 5 ends inside a step.
    assert runner.model.seen == [
        Progress(step=i // 2, max_steps=5, epoch=i // 5, max_epochs=2)
        for i in range(10)]


def test_data_that_fill_no_batch():
    runner = SimpleNamespace(
        optim_wrapper=SimpleNamespace(_inner_count=0), iter=0, max_iters=0,
        train_dataloader=DataLoader(range(3), batch_size=4, drop_last=True))
    with pytest.raises(ConfigError, match=r'3 images.*batch of 4'):
        run_progress(runner)


@pytest.mark.e2e
@pytest.mark.parametrize('accumulation', [1, 2, 3])
def test_teacher_moves_once_an_optimiser_step(make_runner, accumulation):
    runner = make_runner([TEACHER], accumulation=accumulation)
    runner.train()
    steps = -(-10 // accumulation)  # the last one may be shorter
    assert runner.model.ended == [
        (i, pytest.approx(warmup_cosine(i, 0.9, 1.0, steps)))
        for i in range(steps)]


@pytest.mark.e2e
def test_seed_of_the_run_reaches_the_draws(make_runner):
    runner = make_runner([TEACHER], epochs=1, seed=11)
    runner.train()
    assert runner.model.draws_seed == 11
    runner = make_runner([TEACHER], epochs=1, seed=11, name='own')
    runner.model.draws_seed = 3
    runner.train()
    assert runner.model.draws_seed == 3


@pytest.mark.e2e
def test_resumed_run_is_at_the_same_position(make_runner, tmp_path):
    schedule = [dict(type='mimplug.WarmupCosineLR', warmup=1, final=1e-3,
                     convert_to_iter_based=True)]

    class Values(Hook):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            values.append((run_progress(runner), [
                group['lr'] for group
                in runner.optim_wrapper.optimizer.param_groups]))

    values = []
    make_runner([TEACHER, Values()], param_scheduler=schedule).train()
    whole, values = values, []
    make_runner([TEACHER, Values()], param_scheduler=schedule,
                name='resumed', load_from=str(tmp_path / 'epoch_1.pth'),
                resume=True).train()
    assert values == whole[5:]
    assert len(whole) == 10


@pytest.mark.e2e
def test_teacher_learns_that_the_scaler_skipped_a_step(make_runner):
    class Overflow(Hook):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            model = runner.model
            weights.append(model.body.weight.detach().clone())
            if runner.iter == 2:
                model.body.weight.register_hook(
                    lambda grad: grad * float('inf'))

    weights = []
    runner = make_runner([TEACHER, Overflow()], epochs=1, optim_wrapper=dict(
        type='mimplug.OptimWrapper', dtype='float16', loss_scale=8.0,
        optimizer=dict(type='SGD', lr=0.1)))
    runner.train()
    moved = [not torch.equal(old, new)
             for old, new in itertools.pairwise(weights)]
    assert moved == [True, True, False, False]
    assert [step for step, _ in runner.model.ended] == [0, 1, 2, 3, 4]
    assert [bool(finite) for finite in runner.model.moved] == [
        True, True, False, False, False]


class Record(Hook):
    """Keeps values of the last layer of every iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.weights = []

    def before_train(self, runner):
        self.weights.append(runner.model.last_layer.weight.detach().clone())

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.before_train(runner)


@pytest.mark.e2e
@pytest.mark.parametrize('epochs', [0, 1, 2])
def test_frozen_layer_stays_for_the_first_epochs(make_runner, epochs):
    record = Record()
    runner = make_runner([
        TEACHER, record, dict(type='mimplug.FreezeHook', epochs=epochs)])
    runner.train()
    moved = [not torch.equal(old, new) for old, new
             in zip(record.weights, record.weights[1:])]
    assert moved == [i >= 5 * epochs for i in range(10)]
    state = runner.optim_wrapper.optimizer.state
    layer = runner.model.last_layer
    for parameter in layer.parameters():
        if epochs == 2:  # neither decayed nor counted
            assert parameter not in state
        else:
            assert state[parameter]['step'] == 10 - 5 * epochs
    assert state[runner.model.body.weight]['step'] == 10


class Plain(BaseModel):
    """A model that knows nothing of teachers."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise AssertionError('refused before the first step')


class OldFashioned(Plain):
    """Does not want to know whether a step was made."""

    def set_progress(self, progress):
        pass

    def step_end(self, momentum):
        pass


class MovesItself(OldFashioned):
    """As MoCo: its key encoder moves inside of a step."""

    momentum = 0.999

    def step_end(self, momentum, finite=None):
        raise AssertionError('refused before the first step')


@pytest.mark.e2e
@pytest.mark.parametrize('hook, kwargs, message', [
    (TEACHER, dict(model=MovesItself()),
     r'own momentum=0\.999; use .*ProgressHook'),
    (TEACHER, dict(model=Plain()), r'Plain has no set_progress\(\)'),
    (TEACHER, dict(model=OldFashioned()),
     r'OldFashioned\.step_end must take finite=None'),
    (dict(type='mimplug.FreezeHook', names=['lst_layer']), {},
     "no trainable parameter contains 'lst_layer'"),
    (dict(type='mimplug.FreezeHook'), dict(optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))),
     r'needs mimplug\.OptimWrapper, got OptimWrapper'),
])
def test_errors_before_training(make_runner, hook, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        make_runner([hook], **kwargs).train()


@pytest.mark.unit
@pytest.mark.parametrize('hook, message', [
    (dict(type='mimplug.TeacherHook', momentum=1.1), r'momentum=1\.1'),
    (dict(type='mimplug.TeacherHook', final_momentum=-1),
     'final_momentum=-1'),
    (dict(type='mimplug.FreezeHook', epochs=-1), 'epochs=-1'),
])
def test_errors_at_construction(hook, message):
    with pytest.raises(ConfigError, match=message):
        HOOKS.build(hook)
