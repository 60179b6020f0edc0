"""The quickstarts of masked ConvNets learn, in a third of their epochs."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
CONFIGS = {name: f'configs/quickstart/{name}_resnet-quickstart_'
                 'fashion-mnist.py' for name in (
                     'moco', 'saliency-moco', 'mixmask')}


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.parametrize('name', CONFIGS)
def test_it_learns_and_shows_its_masks(name, tmp_path):
    done = subprocess.run(
        [sys.executable, 'tools/train.py', CONFIGS[name], '--seed', '0',
         '--work-dir', str(tmp_path), '--cfg-options',
         'train_cfg.max_epochs=8'], cwd=ROOT, capture_output=True,
        text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / 'knn_report.json').read_text())
    end, step0 = (report[part]['knn/top1_k20'] for part in ('end', 'step0'))
    # the whole run gains 15 to 29 points; 1,000 queries err by 1.5
    assert end > step0 + 5, report
    assert report['iterations'] == 8 * 31
    assert 'step0_plain' in report
    pictures = list((tmp_path / 'vis').glob('*.png'))
    assert bool(pictures) == (name != 'moco')
    for path in pictures:
        assert len(Image.open(path).convert('L').getcolors(256)) > 32
