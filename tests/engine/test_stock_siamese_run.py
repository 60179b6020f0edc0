"""Stock algorithms on masked views in whole runs: resume, ranks, record."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_run import on_launched
from toy_stock_siamese import BACKBONE, STOCK, masked

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / 'configs/quickstart/moco_resnet-quickstart_fashion-mnist.py'
FILTER = dict(type='mimplug.HighPass', kernel_size=3, sigma=0.7)
SIZE, GLOBAL_BATCH = 8, 4


def make_config(work_dir: Path, name: str, world=1, epochs=2, **changes):
    """A stock algorithm in the place of ours; two steps an epoch."""
    from shrink import shrink_config
    cfg = shrink_config(CONFIG, work_dir, work_dir)
    cfg.model = dict(
        STOCK[name](), backbone=dict(BACKBONE),
        data_preprocessor=masked(
            'noise', views=(0, ), input_filter=FILTER, image_size=32,
            mask_generator=dict(type='SaliencyMask', ratio=(0.1, 0.3)),
            saliency=dict(type='mimplug.SpectralResidual', size=16)))
    cfg.train_dataloader.dataset.dataset = dict(
        type='mimplug.EmbeddedFashionMNIST', indices=SIZE)
    cfg.train_dataloader.batch_size = GLOBAL_BATCH // world
    cfg.train_cfg.max_epochs = epochs
    cfg.train_cfg.val_interval = epochs + 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.custom_hooks = [dict(type='mimplug.ProgressHook')]
    cfg.default_hooks.checkpoint.interval = 1
    cfg.launcher = 'none' if world == 1 else 'pytorch'
    cfg.merge_from_dict(changes)
    return cfg


def train(cfg):
    """Trains; returns the runner and the masked view of every key."""
    from mmengine.hooks import Hook

    from mimplug.cli._build import build_runner
    from mimplug.cli._launch import prepare_launch
    from mimplug.evaluation import bare_model

    views = {}

    class Watch(Hook):

        def before_train(self, runner):
            prepare = bare_model(runner.model).data_preprocessor
            prepare.register_forward_hook(note)

    def note(part, inputs, output):
        keys = [tuple(map(int, sample.sample_key))
                for sample in output['data_samples']]
        views.update(zip(keys, output['inputs'][0].clone()))

    prepare_launch(cfg)
    runner = build_runner(cfg)
    runner.register_hook(Watch())
    runner.train()
    return runner, views


def views_of(cfg):
    """For a process of its own."""
    return train(cfg)[1]


@pytest.mark.e2e
def test_a_run_records_filter_and_localiser(tmp_path):
    train(make_config(tmp_path, 'simsiam', epochs=1))
    content = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    record = content['meta']['mimplug']
    assert record['input_filter'] == FILTER
    assert record['saliency']['type'] == 'mimplug.SpectralResidual'
    assert not any('data_preprocessor' in name
                   for name in content['state_dict'])


@pytest.mark.full
@pytest.mark.e2e
def test_a_resumed_run_equals_an_undisturbed_one(tmp_path):
    whole, views = train(make_config(tmp_path / 'whole', 'simsiam'))
    assert len(views) == 2 * SIZE
    resumed, later = train(make_config(
        tmp_path / 'resumed', 'simsiam', resume=True,
        load_from=str(tmp_path / 'whole' / 'epoch_1.pth')))
    assert set(later) == {key for key in views if key[0] == 1}
    assert all(torch.equal(later[key], views[key]) for key in later)
    wanted = whole.model.state_dict()
    assert all(torch.equal(value, wanted[name])
               for name, value in resumed.model.state_dict().items())


@pytest.mark.full
@pytest.mark.dist
def test_masks_do_not_depend_on_the_number_of_processes(tmp_path):
    _, alone = train(make_config(tmp_path / 'one', 'moco', epochs=1))
    parts = on_launched(
        views_of, make_config(tmp_path / 'two', 'moco', world=2, epochs=1),
        tmp_path)
    together = {**parts[0], **parts[1]}
    assert set(together) == set(alone)
    assert all(torch.equal(together[key], alone[key]) for key in alone)


@pytest.mark.full
@pytest.mark.e2e
@pytest.mark.parametrize('name', STOCK)
def test_every_algorithm_runs_by_config(tmp_path, name):
    runner, _ = train(make_config(tmp_path, name, epochs=1))
    assert runner.iter == 2
    assert all(torch.isfinite(value).all()
               for value in runner.model.state_dict().values())
