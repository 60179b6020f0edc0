"""A real run that is killed twice ends as if nobody had touched it."""
from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from toy_signals import CONFIG, equal

from mimplug.cli import main
from mimplug.engine.checkpoint import find_latest

ROOT = Path(__file__).resolve().parents[2]
SAVES = """
default_hooks['checkpoint'].update(
    by_epoch=False, interval=1, max_keep_ckpts=2)
custom_hooks = [dict(type='Crawl', seconds=0.02)]
train_cfg['max_epochs'] = 12
"""


def start(*options):
    """A training as a process of its own."""
    path = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    return subprocess.Popen(
        [sys.executable, str(ROOT / 'tools' / 'train.py'), 'c.py',
         '--work-dir', 'killed', *options],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'})


@pytest.mark.e2e
@pytest.mark.full
def test_two_kills(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('c.py').write_text(CONFIG + SAVES)
    draw, options = random.Random(3), []
    for kill in range(2):
        process = start(*options)
        place, end = Path('killed/at_0'), time.monotonic() + 120
        while not place.exists() or int(place.read_text() or 0) < (
                6 + 20 * kill):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        torch.load(find_latest('killed'), weights_only=True)
        options = ['--resume']
    assert main(['train', 'c.py', '--work-dir', 'killed', '--resume',
                 '--cfg-options', f'experiment_name={tmp_path.name}-1']) == 0
    assert main(['train', 'c.py', '--work-dir', 'whole', '--cfg-options',
                 f'experiment_name={tmp_path.name}-2']) == 0
    assert equal('whole/iter_48.pth', 'killed/iter_48.pth')
    assert sorted(path.name for path in Path('killed').glob('*.pth')) == [
        'iter_47.pth', 'iter_48.pth']
