"""Two processes with half the batch each are one process."""
from __future__ import annotations

import pytest
import torch
from toy_ranks import GLOBAL_BATCH, STEPS, on_two_ranks, train

pytestmark = pytest.mark.dist

RTOL = 1e-5


def attention(per):
    return dict(mask_generator=dict(
        type='mimplug.AttentionMask', apply_prob=0.5,
        ratio=dict(type='UniformRatio', mean=0.4, var=0.3, per=per)))


CASES = {
    'view': attention('view'),
    'image': attention('image'),
    'batch': attention('batch'),
    'hint': dict(mask_generator=dict(
        type='mimplug.AttentionMask', mode='hint', show_max=0.5)),
    # another number of hidden tokens on each rank, and often none
    'block': dict(
        head=dict(shared=False, patch_prototypes=20),
        mask_generator=dict(
            type='mimplug.BlockMask', ratio=[(0.0, 0.0), (0.3, 0.2)])),
}


def train_all(cases):
    return {name: train(settings) for name, settings in cases.items()}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """One process, and each rank of two, for all cases."""
    folder = tmp_path_factory.mktemp('ranks')
    return train_all(CASES), *on_two_ranks(train_all, CASES, folder)


@pytest.fixture(params=CASES)
def case(request, runs):
    """The three runs of one case."""
    return [run[request.param] for run in runs]


def assert_close(value, expected, what):
    """Relative to the largest element; zeros are compared as zeros."""
    limit = RTOL * expected.abs().max()
    error = (value - expected).abs().max()
    assert error <= limit, f'{what}: {error} of {expected.abs().max()}'


def test_masks_are_the_same_for_each_sample(case):
    one, first, second = case
    sizes = set()
    for step in range(STEPS):
        masks = {**first['masks'][step], **second['masks'][step]}
        assert len(masks) == GLOBAL_BATCH
        assert masks.keys() == one['masks'][step].keys()
        for index, hidden in one['masks'][step].items():
            assert torch.equal(masks[index], hidden)
            sizes |= set(hidden.sum(1).tolist())
    assert len(sizes) > 1  # the masks of these runs do vary


def test_losses(case):
    one, first, second = case
    for step in range(STEPS):
        for name, value in one['losses'][step].items():
            mean = (first['losses'][step][name]
                    + second['losses'][step][name]) / 2
            assert_close(mean, value, f'step {step}: {name}')


def test_gradients(case):
    one, *ranks = case
    for step in range(STEPS):
        for name, value in one['gradients'][step].items():
            for rank in ranks:
                assert_close(rank['gradients'][step][name], value,
                             f'step {step}: {name}')
    assert sum(value.abs().sum() for value in one['gradients'][-1].values())


def test_parameters_teacher_and_centres_after_the_run(case):
    one, first, second = case
    moved = []
    for name, value in one['model'].items():
        assert torch.equal(first['model'][name], second['model'][name]), name
        assert_close(first['model'][name], value, name)
        if name.endswith('_center'):
            moved.append(value.abs().sum() > 0)
    assert moved == [True, True]


def test_one_collective_for_both_centres(case):
    for rank in case[1:]:
        assert rank['collectives'] == [['all_reduce']] * STEPS
