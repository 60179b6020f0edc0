"""Position and seed for algorithms without a teacher."""
from __future__ import annotations

import pytest
import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import nn

from mimplug.errors import ConfigError
from mimplug.schedules import Progress

HOOK = dict(type='mimplug.ProgressHook')


class Plain(BaseModel):
    """No teacher, no ``step_end``."""

    def __init__(self, draws_seed=None):
        super().__init__()
        self.body, self.seen = nn.Linear(2, 1), []
        self.draws_seed = draws_seed

    def set_progress(self, progress):
        self.progress = progress

    def forward(self, inputs, data_samples=None, mode='tensor'):
        self.seen.append(self.progress)
        return dict(loss=self.body(torch.stack(inputs)).square().mean())


class Deaf(BaseModel):
    """Cannot be told where the run stands."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 1)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return dict(loss=self.body(torch.stack(inputs)).square().mean())


@pytest.mark.e2e
@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'mimplug.OptimWrapper'])
def test_position_of_every_iteration(make_runner, wrapper):
    runner = make_runner([HOOK], model=Plain(), optim_wrapper=dict(
        type=wrapper, accumulative_counts=2,
        optimizer=dict(type='SGD', lr=0.1)))
    runner.train()
    assert runner.model.seen == [
        Progress(step=i // 2, max_steps=5, epoch=i // 5, max_epochs=2)
        for i in range(10)]


@pytest.mark.e2e
@pytest.mark.parametrize('own,expected', [(None, 11), (3, 3)])
def test_seed_of_the_run(make_runner, own, expected):
    runner = make_runner([HOOK], model=Plain(own), epochs=1, seed=11)
    runner.train()
    assert runner.model.draws_seed == expected


@pytest.mark.e2e
def test_a_model_that_cannot_be_told(make_runner):
    with pytest.raises(ConfigError, match=r'Deaf has no set_progress.*SimMIM'):
        make_runner([HOOK], model=Deaf()).train()


class Hearing(BaseDataPreprocessor):
    """A data preprocessor that draws."""

    draws_seed = None

    def set_progress(self, progress):
        self.progress = progress


@pytest.mark.e2e
def test_a_data_preprocessor_hears_it_too(make_runner):
    model = Deaf()
    model.data_preprocessor = Hearing()
    runner = make_runner([HOOK], model=model, epochs=1, seed=11)
    runner.train()
    assert model.data_preprocessor.draws_seed == 11
    assert model.data_preprocessor.progress == Progress(
        step=4, max_steps=5, epoch=0, max_epochs=1)
