"""Whole tiny runs of MMPretrain's algorithms with our masks."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from shrink import fake_images, shrink_config

from mimplug.cli._build import build_runner

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'


class Masks(Hook):
    """Keeps the mask of each sample by its key."""

    def __init__(self):
        self.seen = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        for sample in data_batch['data_samples']:
            # MAE is handed the masks of the batch
            if 'mask' in sample:
                self.seen[sample.sample_key] = sample.mask.clone()


def run(config, folder, monkeypatch, batch_size=2):
    monkeypatch.setattr(Config, 'pretty_text', '')
    (path, ) = CONFIGS.glob(f'*/{config}_*.py')
    cfg = shrink_config(path, fake_images(folder / 'images'), folder)
    cfg.train_cfg.max_epochs = 2
    cfg.train_dataloader.batch_size = batch_size
    cfg.param_scheduler = []
    cfg.experiment_name = folder.name
    runner, masks = build_runner(cfg), Masks()
    runner.register_hook(masks)
    runner.train()
    return runner, masks.seen


@pytest.mark.e2e
@pytest.mark.parametrize('config', [
    'simmim-attmask', 'beit-attmask', 'mae-amt'])
def test_a_run_with_a_frozen_network(config, tmp_path, monkeypatch):
    runner, _ = run(config, tmp_path, monkeypatch)
    model = runner.model
    assert model.draws_seed == 0
    assert model.progress.step == 4
    assert list(tmp_path.glob('vis/masks_iter_*.png'))
    saved = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    mine = model.mask_source.network.state_dict()
    for name, value in mine.items():
        assert torch.equal(
            saved['state_dict'][f'mask_source.network.{name}'], value)
    trained = {id(p) for group in runner.optim_wrapper.param_groups
               for p in group['params'] if p.grad is not None}
    assert not trained & {id(p) for p in model.mask_source.parameters()}


@pytest.mark.e2e
def test_masks_do_not_depend_on_the_batch(tmp_path, monkeypatch):
    """Without a network nothing else than key and seed counts."""
    _, pairs = run('simmim-rectangle', tmp_path / 'two', monkeypatch)
    _, single = run('simmim-rectangle', tmp_path / 'one', monkeypatch, 1)
    assert len(pairs) == 8
    assert pairs.keys() == single.keys()
    assert all(torch.equal(pairs[key], single[key]) for key in pairs)
    first, *others = pairs.values()
    assert any(not torch.equal(first, other) for other in others)
