"""A resumed run is the same run: bit for bit, and on other processes."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy_exact import (
    EPOCH,
    ITERATION,
    SIZE,
    Record,
    differences,
    exact_run,
    load,
)
from toy_run import on_launched

pytestmark = pytest.mark.e2e

STEPS = 8
CASES = {
    f'{kind}-accumulation{accumulation}-workers{workers}': (
        loop, accumulation, workers)
    # an epoch has 4 micro-batches, so 4 or 2 steps
    for kind, loop in (('epoch', EPOCH), ('iteration', ITERATION))
    for accumulation in (1, 2) for workers in (0, 2)}


def settings(case: str) -> dict[str, Any]:
    """Arguments of :func:`exact_run` for eight steps."""
    loop, accumulation, workers = CASES[case]
    if 'max_epochs' in loop:
        loop = dict(loop, max_epochs=2 * accumulation)
    return dict(loop=loop, accumulation=accumulation, workers=workers,
                steps=STEPS)


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """Folder and log of the undisturbed run of a case, made once."""
    made: dict[str, tuple[Path, Record]] = {}

    def make(case: str) -> tuple[Path, Record]:
        if case not in made:
            folder = tmp_path_factory.mktemp(case)
            made[case] = folder, exact_run(folder, **settings(case))[1]
        return made[case]

    return make


def check_resumed(case: str, step: int, undisturbed: Any,
                  folder: Path) -> None:
    """Resumes after a step in a new runner and compares everything."""
    whole, log = undisturbed(case)
    accumulation = CASES[case][1]
    done, last = step * accumulation, STEPS * accumulation
    _, resumed = exact_run(folder, **settings(case),
                           start=whole / f'iter_{done}.pth')
    assert sorted(resumed.seen) == list(range(done, last))
    assert not [line for place, seen in resumed.seen.items()
                for line in differences(log.seen[place], seen, f'{place}')]
    for later in range(step + 1, STEPS + 1):
        name = f'iter_{later * accumulation}.pth'
        assert not differences(load(whole / name), load(folder / name))


FAST = [('epoch-accumulation2-workers0', 1),
        ('epoch-accumulation2-workers0', 4),
        ('iteration-accumulation1-workers2', 3)]


@pytest.mark.parametrize('case, step', FAST)
def test_resumed_run_is_the_same_run(case, step, undisturbed, tmp_path):
    check_resumed(case, step, undisturbed, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize('case, step', [
    (case, step) for case in CASES for step in range(1, STEPS)
    if (case, step) not in FAST])
def test_after_every_step(case, step, undisturbed, tmp_path):
    check_resumed(case, step, undisturbed, tmp_path)


def test_the_comparison_sees_every_part(undisturbed):
    whole, log = undisturbed(FAST[0][0])
    one, two = load(whole / 'iter_6.pth'), load(whole / 'iter_8.pth')
    found = differences(one, two)
    for place in (
            '.state_dict.backbone.', '.state_dict.teacher.backbone.',
            '.state_dict.teacher.head.', '.optimizer.state.0.exp_avg:',
            '.state_dict.loss_module.patch_center:',
            '.optimizer.param_groups.0.lr:',
            '.param_schedulers.0.last_step', '.meta.position.samples:',
            '.message_hub.log_scalars.train/loss', '.message_hub'):
        assert any(line.startswith(place) for line in found), place
    assert differences(log.seen[6], log.seen[7])


def test_a_run_that_stops_leaves_what_an_undisturbed_one_has(
        undisturbed, tmp_path):
    class Stop(Record):

        def after_train_iter(self, runner, **kwargs):
            runner.train_loop.stop_training = runner.iter + 1 == 6

    case = FAST[0][0]
    whole, _ = undisturbed(case)
    runner, _ = exact_run(tmp_path, **settings(case), hooks=[Stop()])
    assert runner.iter == 6
    assert not differences(load(whole / 'iter_6.pth'),
                           load(tmp_path / 'iter_6.pth'))


def share(argument: tuple[Path, str, Path]) -> dict[str, Any]:
    """Half of the batch on each of two processes."""
    folder, case, start = argument
    torch.distributed.init_process_group('gloo')
    runner, log = exact_run(
        folder, **settings(case), start=start, batch=2, model='DoubleIBOT',
        launcher='pytorch', cfg=dict(model_wrapper_cfg=dict(
            type='MMDistributedDataParallel', device_ids=None,
            broadcast_buffers=False)))
    return dict(state=runner.model.module.state_dict(), log=log.seen,
                iterations=runner.iter)


@pytest.mark.dist
@pytest.mark.parametrize('case, step', [
    ('epoch-accumulation2-workers0', 3),
    pytest.param('iteration-accumulation1-workers0', 5,
                 marks=pytest.mark.full)])
def test_one_process_goes_on_as_two(case, step, tmp_path):
    whole, log = exact_run(tmp_path / 'one', **settings(case),
                           model='DoubleIBOT')
    done = step * CASES[case][1]
    ranks = on_launched(share, (
        tmp_path / 'two', case, tmp_path / 'one' / f'iter_{done}.pth'),
        tmp_path)
    assert all(rank['iterations'] == whole.iter for rank in ranks)
    for place in range(done, whole.iter):
        one, first, second = (
            seen[place] for seen in (log.seen, *(r['log'] for r in ranks)))
        assert [key for pair in zip(first['keys'], second['keys'])
                for key in pair] == one['keys']
        assert first['lr'] == second['lr'] == one['lr']
        mean = (first['loss'] + second['loss']) / 2
        torch.testing.assert_close(mean, one['loss'], rtol=1e-5, atol=0)
    expected = whole.model.state_dict()
    for rank in ranks:
        for name, value in expected.items():
            limit = 1e-5 * value.abs().max()
            assert (rank['state'][name] - value).abs().max() <= limit, name


def test_epochs_of_the_toy_are_as_the_cases_say():
    assert SIZE // 4 == 4
    assert SIZE % 4
