"""Whenever a process that saves is killed, a complete file is there."""
from __future__ import annotations

import os
import random
import signal
import time

import pytest
import torch

from mimplug.engine.checkpoint import (
    find_latest,
    remove_leftovers,
    save_file,
)

pytestmark = pytest.mark.property
KILLS = 50
NUMBERS = 300_000  # 1.2 MB a file


def save_for_ever(folder, first):
    """What a run does, without the training; never returns."""
    torch.set_num_threads(1)
    for step in range(first, 10**9):
        content = dict(meta=dict(iter=step), optimizer={}, state_dict=dict(
            x=torch.full((NUMBERS, ), float(step))))
        save_file(content, str(folder / f'iter_{step}.pth'))
        # the next file is not begun before somebody may rely on this one
        (folder / 'done').write_text(str(step))
        (folder / f'iter_{step - 2}.pth').unlink(missing_ok=True)


def read(path):
    """The step of a file, all of whose tensors must belong to it."""
    content = torch.load(path, weights_only=True)
    step = content['meta']['iter']
    assert content['state_dict']['x'].eq(step).all()
    return step


def test_fifty_kills(tmp_path):
    draw = random.Random(7)
    step, leftovers, began = 0, 0, time.monotonic()
    for _ in range(3):
        save_file(dict(meta=dict(iter=0), optimizer={}, state_dict=dict(
            x=torch.zeros(NUMBERS))), str(tmp_path / 'iter_0.pth'))
    duration = (time.monotonic() - began) / 3
    for _ in range(KILLS):
        pid = os.fork()
        if pid == 0:
            try:
                save_for_ever(tmp_path, step + 1)
            finally:
                os._exit(1)
        time.sleep(draw.uniform(0, 5 * duration))
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        done = tmp_path / 'done'
        promised = int(done.read_text() or 0) if done.exists() else 0
        found = read(find_latest(tmp_path))
        assert found >= max(promised, step)
        if found == step:  # the machine has become slower
            duration *= 1.5
        step = found
        leftovers += len(remove_leftovers(tmp_path))
        assert not list(tmp_path.glob('.*'))
    assert step > 10  # it did save
    assert leftovers > 3  # and some of the kills hit a file half written
