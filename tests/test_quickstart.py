"""The README's first command: it learns, and leaves what it promises."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
SEEDS = (0, 1)
LOGGED = ('Epoch(train)', 'eta:', 'loss_cls:', 'loss_patch:', 'lr:',
          'data_time:', 'knn/top1_k20:', 'raw pixels', 'chance')


def check_files(work_dir: Path, iterations: int) -> None:
    """Checkpoint, log, TensorBoard events and a picture worth looking at."""
    assert list(work_dir.glob('epoch_*.pth'))
    assert (work_dir / 'last_checkpoint').is_file()
    assert list(work_dir.glob('*/vis_data/events.out.tfevents*'))
    text = (work_dir / 'stdout.txt').read_text()
    for word in LOGGED:
        assert word in text, word
    picture = Image.open(work_dir / f'vis/masks_iter_{iterations}.png')
    assert min(picture.size) > 400
    assert len(picture.convert('L').getcolors(256)) > 32


# One test, so that parallel workers do not train the same seeds twice.
@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(1500)
def test_quickstart_learns_and_leaves_its_files(tmp_path):
    out = tmp_path / 'result.json'
    done = subprocess.run(
        [sys.executable, 'benchmarks/quickstart_seeds.py', '--seeds',
         *map(str, SEEDS), '--jobs', '2', '--work-dir', str(tmp_path),
         '--out', str(out)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'})
    # 1 is a verdict on the spread of two seeds, which says little
    assert done.returncode in (0, 1), done.stdout + done.stderr
    for run in json.loads(out.read_text())['runs']:
        assert run['end'] > run['step0'], run
        # a property of the embedded images, not of the network
        assert run['pixels'] == pytest.approx(79.5)
        check_files(tmp_path / f'seed{run["seed"]}', run['iterations'])
