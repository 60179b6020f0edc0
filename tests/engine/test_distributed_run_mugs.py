"""Mugs from a config, with keyed crops, on two processes and on one.

Nothing is fixed but the seed: order, crops, RandAugment, erased noise, masks
and stochastic depth come from the keys of the samples. Queues and memories
are no multiple of the batch, so that what they forget matters, too.
"""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import MODELS
from toy_run import on_launched, run_config, train_config

from mimplug.models.algorithms import Mugs

pytestmark = [pytest.mark.dist, pytest.mark.e2e, pytest.mark.full]

QUICKSTART = (Path(__file__).resolve().parents[2] / 'configs/quickstart'
              / 'mugs_vit-quickstart-p8_fashion-mnist.py')
LIMIT = 1e-9
CASES = {
    'plain': dict(),
    'masks': dict(model__mask_generator=dict(
        type='mimplug.AttentionMask', ratio=0.4, apply_prob=0.5)),
}


@MODELS.register_module(force=True)
class DoubleMugs(Mugs):
    """Mugs in float64 that keeps what it returns and stores."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.double()
        self.kept = []

    def loss(self, inputs, data_samples=None):
        losses = super().loss(inputs, data_samples)
        self.kept.append(dict(
            losses={name: value.detach() for name, value in losses.items()
                    if name != 'raw/neighbour_purity'},
            memories={name: value.clone() for name, value
                      in self.memories.state_dict().items()}))
        return losses


def train_all(folder, world):
    found = {}
    for name, changes in CASES.items():
        cfg = run_config(
            QUICKSTART, folder / f'{name}-{world}', world,
            model__type='DoubleMugs', model__instance__queue=18,
            model__local_group__queue=13, model__local_group__memory=7,
            **changes)
        found[name] = train_config(cfg, kept='kept')
    return found


def train_all_on_two(folder):
    return train_all(folder, 2)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """One process, and each rank of two, for all cases."""
    folder = tmp_path_factory.mktemp('mugs')
    return (train_all(folder, 1),
            *on_launched(train_all_on_two, folder, folder))


@pytest.fixture(params=CASES)
def case(request, runs):
    """The three runs of one case."""
    return [run[request.param] for run in runs]


def assert_close(value, expected, what):
    assert value.shape == expected.shape, what
    if not value.numel():
        return
    limit = LIMIT * expected.double().abs().max()
    error = (value.double() - expected.double()).abs().max()
    assert error <= limit, f'{what}: {error}'


def test_losses_of_each_step(case):
    one, first, second = (run['kept'] for run in case)
    assert len(one) == len(first) == len(second) == 4
    for number, (whole, *parts) in enumerate(zip(one, first, second)):
        for name, value in whole['losses'].items():
            mean = sum(part['losses'][name] for part in parts) / 2
            assert_close(mean, value, f'step {number}: {name}')


def test_queues_and_memories_after_each_step(case):
    """Row by row and on every rank, also what is written over."""
    one, *ranks = (run['kept'] for run in case)
    for steps in ranks:
        for number, (whole, part) in enumerate(zip(one, steps)):
            for name, value in whole['memories'].items():
                assert_close(part['memories'][name], value,
                             f'step {number}: {name}')
    last = one[-1]['memories']
    assert last['teacher.written'].all()
    assert last['student.written'].any()


def test_weights_teacher_and_centre_after_the_run(case):
    one, *ranks = case
    assert one['model']['loss_module.cls_center'].abs().sum() > 0
    for name, value in one['model'].items():
        assert torch.equal(*(run['model'][name] for run in ranks)), name
        assert_close(ranks[0]['model'][name], value, name)
