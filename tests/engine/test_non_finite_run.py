"""Non-finite steps in whole runs, on one process and on two."""
from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_guard import Break, Snapshots, guard_runner

from mimplug.schedules import warmup_cosine

ROOT = Path(__file__).resolve().parents[2]


def same(left, right):
    """Equal numbers; state that only one side has must be zero."""
    for name in left.keys() | right.keys():
        if name not in left:
            if right[name].any():
                return False
        elif not torch.equal(left[name], right[name]):
            return False
    return True


def train(tmp_path, name, **kwargs):
    snapshots = Snapshots()
    runner = guard_runner(ROOT, tmp_path, name=name, hooks=[
        *kwargs.pop('hooks', ()), snapshots], **kwargs)
    runner.train()
    return runner, snapshots.taken


@pytest.mark.e2e
@pytest.mark.parametrize('where', ['loss', 'gradient', 'images'])
@pytest.mark.parametrize('dtype, accumulation', [
    (None, 1), (None, 2), ('bfloat16', 1), ('float16', 2)])
def test_nothing_moves_and_training_goes_on(tmp_path, where, dtype,
                                            accumulation):
    bad = 5  # the second micro-batch of its group, too
    runner, taken = train(
        tmp_path, f'{where}-{dtype}-{accumulation}', dtype=dtype,
        accumulation=accumulation, hooks=[Break([bad], where)])
    moved = [not same(old, new) for old, new in itertools.pairwise(taken)]
    assert moved == [
        (i + 1) % accumulation == 0 and i != bad for i in range(12)]
    assert all(value.isfinite().all() for value in taken[-1].values())
    wrapper = runner.optim_wrapper
    assert (wrapper.skipped.item(), wrapper.consecutive.item(),
            wrapper.known_skipped) == (1, 0, 1)
    assert runner.model.loss_module.pending is None
    if dtype == 'float16':
        assert wrapper.scaler.get_scale() == 4.0
    # teacher, centres and parameters are all among what did not move
    for part in ('teacher.backbone', 'cls_center', 'optimizer/', 'head.'):
        assert any(part in name for name in taken[-1])


@pytest.mark.e2e
def test_schedules_count_skipped_steps_back_at_log_points(tmp_path):
    class Watch(Snapshots):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            group = runner.optim_wrapper.optimizer.param_groups[0]
            seen.append((group['lr'], group['weight_decay'],
                         runner.model.progress))

    seen, momenta = [], []
    watch = Watch()
    runner = guard_runner(ROOT, tmp_path, name='schedules', interval=4, hooks=[
        Break([1, 7], 'loss'), watch])
    step_end = runner.model.step_end
    runner.model.step_end = lambda momentum, finite=None: (
        momenta.append(momentum), step_end(momentum, finite))[1]
    runner.train()
    # log points after iterations 4, 6 (end of the epoch), 10 and 12
    known = [0] * 4 + [1] * 6 + [2] * 2
    for i, (lr, decay, progress) in enumerate(seen):
        step = i - known[i]
        assert (progress.step, progress.schedule_step) == (i, step)
        assert lr == pytest.approx(
            warmup_cosine(step, 1e-2, 1e-6, 12, 2), abs=1e-15)
        assert decay == pytest.approx(
            warmup_cosine(step, 0.04, 0.4, 12, 2), abs=1e-15)
        assert momenta[i] == pytest.approx(warmup_cosine(step, 0.9, 1, 12))


@pytest.mark.e2e
def test_a_stopped_run_resumes_to_the_same_end(tmp_path):
    """Also when the stop falls between a skipped step and its log point."""
    checkpoint = dict(checkpoint=dict(
        type='mimplug.CheckpointHook', interval=1, by_epoch=False,
        max_keep_ckpts=-1))
    _, whole = train(tmp_path / 'whole', 'whole', interval=4,
                     hooks=[Break([1, 6], 'gradient')],
                     default_hooks=checkpoint)
    for stop in (2, 5, 7):
        runner, rest = train(
            tmp_path / f'from-{stop}', f'from-{stop}', interval=4, resume=True,
            load_from=str(tmp_path / 'whole' / f'iter_{stop}.pth'),
            hooks=[Break([1, 6], 'gradient')], default_hooks=checkpoint)
        assert runner.optim_wrapper.known_skipped == 2
        assert len(rest) == 13 - stop
        for left, right in zip(whole[stop + 1:], rest[1:]):
            assert left.keys() == right.keys()
            assert same(left, right)


SCRIPT = """
import sys, torch
torch.distributed.init_process_group('gloo')
from pathlib import Path
sys.path[:0] = [{root!r}, {root!r} + '/tests', {root!r} + '/tests/engine']
torch.set_num_threads(1)
from mmengine import dist
from toy_guard import Break, guard_runner
# every iteration from the third on is broken, on the second rank only
hooks = [Break(range(2, 10**6), 'loss')] if int(sys.argv[2]) else []
runner = guard_runner(
    Path({root!r}), Path(sys.argv[1]), name='dist', launcher='pytorch',
    epochs=1000, interval=2, hooks=hooks, default_hooks=dict(
        non_finite=dict(type='mimplug.NonFiniteHook', limit=3)),
    cfg=dict(model_wrapper_cfg=dict(
        type='MMDistributedDataParallel', broadcast_buffers=False,
        device_ids=None)))
runner.train()
"""


@pytest.mark.dist
def test_two_processes_stop_together(tmp_path):
    """Only one of them sees NaN; none may wait for the other."""
    script = tmp_path / 'run.py'
    script.write_text(SCRIPT.format(root=str(ROOT)))
    environ = {key: value for key, value in os.environ.items()
               if key != 'PYTHONPATH'}
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    started = time.monotonic()
    ranks = [subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / 'out'), str(rank)],
        env={**environ, 'RANK': str(rank), 'LOCAL_RANK': str(rank),
             'WORLD_SIZE': '2', 'MASTER_ADDR': '127.0.0.1',
             'MASTER_PORT': str(port), 'OMP_NUM_THREADS': '1',
             'CUDA_VISIBLE_DEVICES': ''},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for rank in (0, 1)]
    try:
        errors = [rank.communicate(timeout=60)[1] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert time.monotonic() - started < 60
    for rank, error in zip(ranks, errors):
        assert rank.returncode not in (0, -9), error
        # three iterations an epoch; steps 3, 4 and 5 are bad
        assert 'NonFiniteLossError: iteration 5: ' in error
    assert {path.name for path in (tmp_path / 'out').glob('non_finite*')} == {
        'non_finite_iter_5_rank0.json', 'non_finite_iter_5_rank1.json'}
