"""The end of a run that makes no step any more."""
from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn

from mimplug.engine.hooks import NonFiniteHook
from mimplug.engine.hooks.non_finite import sample_keys
from mimplug.errors import ConfigError, NonFiniteLossError

DATA = [dict(inputs=torch.ones(2), data_samples=SimpleNamespace(
    sample_key=(0, index, 0))) for index in range(10)]


class Broken(BaseModel):
    """Its loss is NaN from some iteration on."""

    def __init__(self, first):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.first, self.calls = first, 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.calls += 1
        loss = self.body(torch.stack(inputs)).square().mean()
        return dict(loss=loss * (float('nan') if self.calls > self.first
                                 else 1))


def make(make_runner, first, limit, interval=1, **kwargs):
    runner = make_runner(
        [dict(type='mimplug.NonFiniteHook', limit=limit)],
        model=Broken(first), default_hooks=dict(
            runtime_info=dict(type='mimplug.RuntimeInfoHook'),
            logger=dict(type='LoggerHook', interval=interval)), **kwargs)
    runner._train_dataloader['dataset'] = DATA
    return runner


@pytest.mark.e2e
@pytest.mark.parametrize('first, limit, interval, accumulation, iteration', [
    (2, 3, 1, 1, 5), (2, 3, 2, 1, 5), (0, 1, 1, 1, 1), (3, 4, 10, 1, 10),
    (2, 2, 1, 2, 6), (1, 2, 3, 2, 5)])
def test_aborts_at_the_next_log_point(make_runner, tmp_path, first, limit,
                                      interval, accumulation, iteration):
    runner = make(make_runner, first, limit, interval,
                  accumulation=accumulation)
    before = runner.model.body.weight.detach().clone()
    with pytest.raises(NonFiniteLossError, match=(
            f'iteration {iteration}: .*limit {limit}.*bfloat16')):
        runner.train()
    assert runner.model.calls == iteration
    assert torch.equal(before, runner.model.body.weight) == (
        first < accumulation)
    path = tmp_path / f'non_finite_iter_{iteration}_rank0.json'
    report = json.loads(path.read_text())
    steps = iteration // accumulation
    good = first // accumulation
    assert report['consecutive'] == report['skipped'] == steps - good
    # the latest skipped steps, all their micro-batches, no others
    known = [(batch['iteration'], [key[1] for key in batch['sample_keys']])
             for batch in report['batches']]
    whole = [(i + 1, [2 * (i % 5), 2 * (i % 5) + 1]) for i in range(
        good * accumulation, steps * accumulation)]
    kept = min(len(whole), limit * accumulation - iteration % accumulation)
    assert known == whole[-kept:]


@pytest.mark.e2e
def test_a_few_bad_steps_are_nothing(make_runner, tmp_path):
    runner = make(make_runner, 8, 3)
    runner.train()
    assert runner.optim_wrapper.known_consecutive == 2
    assert not list(tmp_path.glob('non_finite*'))


@pytest.mark.e2e
@pytest.mark.parametrize('kwargs', [
    dict(default_hooks=dict(runtime_info=dict(type='RuntimeInfoHook'))),
    dict(optim_wrapper=dict(type='OptimWrapper',
                            optimizer=dict(type='SGD', lr=0.1)))])
def test_says_that_nobody_counts(make_runner, monkeypatch, kwargs):
    said = []
    monkeypatch.setattr('mimplug.engine.hooks.non_finite.print_log',
                        lambda text, **_: said.append(text))
    kwargs.setdefault('default_hooks', dict(
        runtime_info=dict(type='mimplug.RuntimeInfoHook')))
    make_runner([dict(type='mimplug.NonFiniteHook', limit=1)],
                model=Broken(3), **kwargs).train()
    text, = said
    assert 'NonFiniteHook needs mimplug.OptimWrapper' in text


@pytest.mark.unit
def test_keys_of_any_batch():
    samples = [SimpleNamespace(sample_key=(torch.tensor(1), 2, 3)),
               SimpleNamespace()]
    assert sample_keys(dict(data_samples=samples)) == [[1, 2, 3]]
    assert sample_keys(dict(inputs=1)) == []
    assert sample_keys([1, 2]) == []


@pytest.mark.unit
def test_errors():
    with pytest.raises(ConfigError, match='limit=0: must be >= 1'):
        NonFiniteHook(limit=0)


class Normed(Broken):
    """With a batch norm, which meets the NaN in some iteration."""

    def __init__(self, first):
        super().__init__(first)
        self.norm = nn.BatchNorm1d(2)
        self.seen = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.seen.append({name: value.clone()
                          for name, value in self.norm.state_dict().items()})
        self.calls += 1
        images = torch.stack(inputs) * self.calls
        if self.calls == self.first:
            images[0] = torch.nan
        return dict(loss=self.norm(self.body(images)).square().mean())


@pytest.mark.e2e
@pytest.mark.parametrize('first, accumulation', [(3, 1), (3, 2), (4, 2)])
def test_norms_forget_a_skipped_step(make_runner, first, accumulation):
    """A NaN once stayed in the running statistics for the rest of a run."""
    runner = make(make_runner, 99, 3, accumulation=accumulation)
    runner.model = model = Normed(first)
    runner.train()
    assert runner.optim_wrapper.known_skipped == 1
    start = (first - 1) // accumulation * accumulation
    before, after = (model.seen[i] for i in (start, start + accumulation))
    for name in ('running_mean', 'running_var', 'num_batches_tracked'):
        assert torch.equal(before[name], after[name])
        assert not torch.equal(after[name], model.norm.state_dict()[name])
    assert all(value.isfinite().all()
               for value in model.norm.state_dict().values())
