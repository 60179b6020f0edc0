"""From a pre-training config to its linear probe, made tiny."""
from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from shrink import fake_images, shrink_config

from mimplug.cli._build import build_runner
from mimplug.errors import MimplugError

ROOT = Path(__file__).resolve().parent.parent / 'configs' / 'saliency_moco'
BEFORE = ROOT / 'saliency-moco-hp_resnet50_4xb32-coslr-200e_in100.py'
PROBE = (ROOT / 'benchmarks' / 'resnet50_saliency-moco-hp-200e-pre_4xb64-'
         'linear-steplr-100e_in100.py')
EPOCHS = 3

pytestmark = [pytest.mark.e2e, pytest.mark.full]


class Rates(Hook):
    """Learning rate of each epoch."""

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        (group, ) = runner.optim_wrapper.optimizer.param_groups
        self.seen.append((runner.epoch, group['lr']))


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.setattr(Config, 'pretty_text', '')
    return fake_images(tmp_path / 'images', num_images=8)


@pytest.fixture
def checkpoint(images, tmp_path):
    """A file of the pre-training run after one epoch."""
    cfg = shrink_config(BEFORE, images, tmp_path / 'before')
    cfg.train_cfg.max_epochs = 1
    cfg.custom_hooks = [dict(type='mimplug.ProgressHook')]
    build_runner(cfg).train()
    return tmp_path / 'before' / 'epoch_1.pth'


def probe(images, tmp_path, checkpoint):
    """The probe's config, made tiny, on that file."""
    init = copy.deepcopy(Config.fromfile(str(PROBE)).model.backbone.init_cfg)
    cfg = shrink_config(PROBE, images, tmp_path / 'probe')
    cfg.model.backbone.init_cfg = dict(init, checkpoint=str(checkpoint))
    cfg.train_cfg.max_epochs = EPOCHS
    cfg.param_scheduler[0].milestones = [1, 2]
    return cfg


def test_the_encoder_stays_and_the_head_learns(images, tmp_path, checkpoint):
    runner = build_runner(probe(images, tmp_path, checkpoint))
    rates = Rates()
    runner.register_hook(rates)
    runner.train()
    saved = torch.load(checkpoint, weights_only=True)['state_dict']
    for name, value in runner.model.backbone.state_dict().items():
        torch.testing.assert_close(
            value, saved[f'backbone.{name}'], rtol=0, atol=0)
    assert not runner.model.backbone.training
    # lr 30 for 256 images, a tenth at each milestone
    expected = {(epoch, 30.0 / 10**epoch) for epoch in range(EPOCHS)}
    assert {(epoch, round(lr, 9)) for epoch, lr in rates.seen} == expected
    assert runner.model.head.fc.weight.std() > 0.02
    record = torch.load(tmp_path / 'probe' / f'epoch_{EPOCHS}.pth',
                        weights_only=True)['meta']['mimplug']
    assert record['input_filter']['type'] == 'mimplug.HighPass'


def test_without_the_filter_the_file_is_refused(images, tmp_path, checkpoint):
    cfg = probe(images, tmp_path, checkpoint)
    cfg.custom_hooks = []
    with pytest.raises(MimplugError, match='InputFilterHook'):
        build_runner(cfg).train()
