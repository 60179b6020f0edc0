"""Every config builds and takes an optimiser step, made tiny."""
from __future__ import annotations

import math
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from shrink import fake_images, shrink_config

from mimplug.cli._build import build_runner

ROOT = Path(__file__).resolve().parent.parent / 'configs'
CONFIGS = sorted(path for path in ROOT.rglob('*.py')
                 if '_base_' not in path.parts)

# Differ from others, which the fast tests run, in numbers only.
ALIKE = ('saliency-moco-hp_resnet50_1xb64', 'saliency-moco-mean',
         'saliency-moco-hp-own', 'saliency-simclr-blur',
         'saliency-simclr-mean', 'saliency-moco-blur-200e-pre',
         'mixmask-mocov2-200e-pre', 'mixmask-mocov2_resnet50_1xb64',
         'mixmask-moco_resnet18_1xb512', 'unmix-mocov2_resnet50_8xb32',
         'unmix-moco_resnet18_1xb256', 'mocov2_resnet50_4xb32')

pytestmark = pytest.mark.unit


class StepDoneError(Exception):
    """The first optimiser step is done."""


class StopAfterStep(Hook):
    """Keeps the losses, ends the run by :class:`StepDoneError`."""

    priority = 'LOWEST'

    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.losses.append(float(outputs['loss'].detach()))
        if runner.optim_wrapper.should_update():
            raise StepDoneError


@pytest.fixture(scope='session')
def images(tmp_path_factory):
    return fake_images(tmp_path_factory.mktemp('images'))


def case(path):
    alike = any(name in path.stem for name in ALIKE)
    return pytest.param(path, id=f'{path.parent.name}/{path.stem}',
                        marks=[pytest.mark.full] if alike else [])


@pytest.mark.parametrize('path', map(case, CONFIGS))
def test_one_step(path, images, tmp_path, monkeypatch):
    # printing the config takes longer than everything else here
    monkeypatch.setattr(Config, 'pretty_text', '')
    cfg = shrink_config(path, images, tmp_path)
    runner = build_runner(cfg)
    stop = StopAfterStep()
    runner.register_hook(stop)
    with pytest.raises(StepDoneError):
        runner.train()
    assert all(math.isfinite(loss) for loss in stop.losses)
    if runner.optim_wrapper.clip is not None:
        assert 0 < runner.optim_wrapper.grad_norm < math.inf
    if cfg.get('val_cfg') is not None:
        metrics = runner.val_loop.run()
        assert metrics
        assert all(math.isfinite(value) for value in metrics.values())


def test_there_are_configs():
    assert {'attmask', 'attmask_thesis', 'beit', 'ibot', 'mae', 'mixmask',
            'moco', 'mscn', 'mugs', 'quickstart', 'saliency_moco', 'simmim',
            'unmix'} <= {
        path.parent.name for path in CONFIGS}


def test_names_follow_the_rule():
    for path in CONFIGS:
        fields = path.stem.split('_')
        assert len(fields) >= 3, path
        assert path.stem == path.stem.lower(), path
