"""Between two log points nobody waits for the device."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from sync_detector import SyncDetector
from toy_guard import guard_runner

from mimplug.engine.hooks.runtime_info import is_log_point

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = [dict(), dict(dtype='bfloat16'), dict(accumulation=2),
            dict(dtype='float16')]
NAMES = ['float32', 'bfloat16', 'accumulation', 'float16']


class Begin(Hook):
    """Switches the detector on before everybody else."""

    priority = 'HIGHEST'

    def __init__(self, switch):
        self.switch = switch

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.switch(True, is_log_point(runner, batch_idx))


class End(Begin):
    """Off after everybody else."""

    priority = 'LOWEST'

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        pass

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.switch(False, is_log_point(runner, batch_idx))


def watch(tmp_path, name, **kwargs):
    """Trains; what was found between log points, and at each of them."""
    detector, quiet, logging = SyncDetector(), [], []

    def switch(on, log_point):
        if not on:
            (logging if log_point else quiet).append(detector.found)
            detector.found = []
        detector.on = on

    runner = guard_runner(ROOT, tmp_path, name=name, interval=4, hooks=[
        Begin(switch), End(switch)], **kwargs)
    with detector:
        runner.train()
    return quiet, logging


@pytest.mark.e2e
@pytest.mark.parametrize('kwargs', SETTINGS, ids=NAMES)
def test_no_call_that_waits(tmp_path, kwargs):
    quiet, logging = watch(tmp_path, f'sync-{kwargs}', **kwargs)
    # 2 epochs of 6 iterations, read at the 4th and the 6th
    assert (len(quiet), len(logging)) == (8, 4)
    assert [calls for calls in quiet if calls] == []
    # there the log is read, by one copy, so the detector is awake
    for calls in logging:
        own, = (call for call in calls if 'hooks/runtime_info.py' in call)
        assert own.startswith('tolist')


@pytest.mark.e2e
@pytest.mark.parametrize('change', [
    dict(default_hooks=dict(runtime_info=dict(type='RuntimeInfoHook'))),
    dict(optimizer=dict(fused=False))], ids=['hook', 'optimizer'])
def test_the_stock_parts_would_be_found(tmp_path, change):
    quiet, _ = watch(tmp_path, f'stock-{sorted(change)}', **change)
    assert all(quiet)


@pytest.mark.unit
@pytest.mark.parametrize('call', [
    lambda x: x.sum().item(), lambda x: x.tolist(), lambda x: x.numpy(),
    lambda x: x.cpu(), lambda x: float(x[0]), lambda x: int(x[0]),
    lambda x: bool(x[0]), lambda x: [0, 1][x[0].long()], lambda x: x[x > 0],
    lambda x: x.nonzero(), lambda x: torch.equal(x, x),
    lambda x: torch.unique(x), lambda x: torch.masked_select(x, x > 0),
    lambda x: 1.0 in x,
    lambda x: torch.repeat_interleave(torch.ones(2, dtype=torch.long))])
def test_detector(call):
    with SyncDetector() as detector:
        call(torch.zeros(2))
        assert not detector.found
        detector.on = True
        call(torch.zeros(2))
        assert detector.found
        assert 'test_host_sync.py' in detector.found[-1]


@pytest.mark.unit
def test_detector_lets_other_work_pass():
    with SyncDetector() as detector:
        detector.on = True
        x = torch.randn(3, 3, requires_grad=True)
        index = torch.tensor([0, 2])
        (torch.where(x > 0, x, 0)[index].sum() / x.max()).backward()
        torch.nonzero_static(x > 0, size=9)
    assert detector.found == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('kwargs', SETTINGS, ids=NAMES)
def test_no_call_that_waits_on_cuda(tmp_path, kwargs):
    """Torch itself raises where the host would wait."""

    def switch(on, log_point):
        torch.cuda.set_sync_debug_mode(
            'error' if on and not log_point else 'default')

    try:
        guard_runner(ROOT, tmp_path, name=f'cuda-{kwargs}', interval=4, hooks=[
            Begin(switch), End(switch)], **kwargs).train()
    finally:
        torch.cuda.set_sync_debug_mode('default')
