"""A run from a config on two processes ends like the run on one."""
from __future__ import annotations

from pathlib import Path

import pytest
from toy_run import (
    EPOCHS,
    GLOBAL_BATCH,
    SIZE,
    on_launched,
    run_config,
    train_config,
)

pytestmark = [pytest.mark.dist, pytest.mark.e2e]

QUICKSTART = (Path(__file__).resolve().parents[2] / 'configs/quickstart'
              / 'attmask_vit-quickstart-p8_fashion-mnist.py')
CASES = {
    'plain': dict(),
    # of the ranks' own generators, from which nothing of ours draws
    'diff_rank_seed': dict(randomness=dict(seed=0, diff_rank_seed=True)),
    'accumulation': dict(optim_wrapper__accumulative_counts=2,
                         train_dataloader__num_workers=2),
}


def train_all(folder, world):
    return {name: train_config(run_config(
        QUICKSTART, folder / f'{name}-{world}', world, **changes))
        for name, changes in CASES.items()}


def train_all_on_two(folder):
    return train_all(folder, 2)


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """One process, and each rank of two, for all cases."""
    folder = tmp_path_factory.mktemp('runs')
    return (train_all(folder, 1),
            *on_launched(train_all_on_two, folder, folder))


@pytest.fixture(params=CASES)
def case(request, runs):
    """The three runs of one case."""
    return [run[request.param] for run in runs]


def test_ranks_share_the_batches_of_one_process(case):
    one, first, second = case
    # a batch that the data set does not fill is left out, everywhere
    assert len(one['keys']) == EPOCHS * (SIZE // GLOBAL_BATCH)
    assert [[key for pair in zip(a, b) for key in pair]
            for a, b in zip(first['keys'], second['keys'])] == one['keys']


def test_weights_teacher_and_centres(case):
    one, first, second = case
    assert one['iterations'] == first['iterations'] == second['iterations']
    for name, value in one['model'].items():
        limit = 1e-9 * value.abs().max()
        for rank in (first, second):
            error = (rank['model'][name] - value).abs().max()
            assert error <= limit, f'{name}: {error}'


def test_seeds_of_ranks_change_nothing(runs):
    one, first, _ = runs
    for run in (one, first):
        assert run['diff_rank_seed']['keys'] == run['plain']['keys']
