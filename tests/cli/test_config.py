"""Arguments land in the config as OpenMMLab users expect."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hub import get_config
from mmengine.registry import PARAM_SCHEDULERS
from PIL import Image
from torch.optim import SGD

from mimplug.cli import build_parser, main
from mimplug.cli._config import load_config, scale_lr, set_amp
from mimplug.cli.train import apply_arguments
from mimplug.errors import ConfigError
from mimplug.utils import allow_config_inheritance

pytestmark = pytest.mark.unit
QUICKSTART = (Path(__file__).resolve().parents[2] / 'configs' / 'quickstart'
              / 'attmask_vit-quickstart-p8_fashion-mnist.py')


def parse(*arguments):
    return build_parser().parse_args([str(word) for word in arguments])


def test_default_work_dir_is_named_after_the_config(toy_config):
    cfg = load_config(parse('train', toy_config))
    assert cfg.work_dir == 'work_dirs/toy_config'
    assert cfg.launcher == 'none'


def test_work_dir_argument_beats_the_config(toy_config):
    args = parse('train', toy_config, '--cfg-options', 'work_dir=a',
                 '--work-dir', 'b')
    assert load_config(args).work_dir == 'b'
    args.work_dir = None
    assert load_config(args).work_dir == 'a'


def test_cfg_options(toy_config):
    args = parse('train', toy_config, '--cfg-options',
                 'train_cfg.max_epochs=7', 'model.width=3')
    cfg = load_config(args)
    assert (cfg.train_cfg.max_epochs, cfg.model.width) == (7, 3)


def test_quickstart_is_shortened_by_one_setting():
    cfg = load_config(parse('train', QUICKSTART, '--cfg-options',
                            'train_cfg.max_epochs=4'))
    optimizer = SGD([torch.zeros(1)], lr=cfg.optim_wrapper.optimizer.lr)
    rate, decay = (
        PARAM_SCHEDULERS.build(dict(part), default_args=dict(
            optimizer=optimizer, epoch_length=10,
            end=cfg.train_cfg.max_epochs)) for part in cfg.param_scheduler)
    assert (rate.total, rate.warmup) == (40, 4)
    assert (decay.total, decay.warmup) == (40, 0)
    assert 'max_epochs' not in cfg  # a second place to set it


def test_unknown_config_names_the_nearest(tmp_path, monkeypatch):
    (tmp_path / 'configs' / 'some').mkdir(parents=True)
    (tmp_path / 'configs' / 'some' / 'swimming_pool.py').write_text('')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r'some/swimming_pool\.py'):
        load_config(parse('train', 'configs/swiming_pol.py'))


def test_missing_base_is_a_clear_error(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text("_base_ = 'nowhere.py'")
    with pytest.raises(ConfigError, match=r'nowhere\.py'):
        load_config(parse('train', path))


def test_bases_of_the_installed_package(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text("_base_ = 'mimplug::_base_/default_runtime.py'")
    cfg = load_config(parse('train', path))
    assert cfg.default_scope == 'mmpretrain'


def test_inherited_config_trains(tmp_path):
    """MMEngine's mark of the package once hid MMPretrain's bare names."""
    images = tmp_path / 'images'
    images.mkdir()
    for index in range(2):
        Image.new('RGB', (40, 40), (90 * index, 50, 50)).save(
            images / f'{index}.png')
    path = tmp_path / 'my_images.py'
    path.write_text(f"""
_base_ = 'mimplug::quickstart/attmask_vit-quickstart-p8_fashion-mnist.py'
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(dataset=dict(
        _delete_=True, type='CustomDataset', data_root={str(images)!r},
        with_label=False)))
val_cfg = val_dataloader = val_evaluator = None
train_cfg = dict(max_epochs=1)
custom_hooks = [dict(type='mimplug.TeacherHook')]
work_dir = {str(tmp_path / 'work')!r}
""")
    assert main(['train', str(path)]) == 0
    assert (tmp_path / 'work/epoch_1.pth').is_file()


def test_configs_can_be_asked_for_by_name():
    allow_config_inheritance()
    cfg = get_config(
        'mimplug::attmask/'
        'attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k.py')
    assert cfg.model.type == 'mimplug.IBOT'


@pytest.mark.parametrize('wrapper,expected', [
    (dict(type='mimplug.OptimWrapper', clip_grad=dict(max_norm=3.)),
     dict(type='mimplug.OptimWrapper', clip_grad=dict(max_norm=3.),
          dtype='bfloat16')),
    (dict(constructor='mimplug.TwoGroupConstructor'),
     dict(constructor='mimplug.TwoGroupConstructor', dtype='bfloat16')),
    (dict(type='OptimWrapper'),
     dict(type='AmpOptimWrapper', dtype='bfloat16')),
    (dict(type='mmengine.AmpOptimWrapper', dtype='float16'),
     dict(type='AmpOptimWrapper', dtype='bfloat16')),
])
def test_amp(wrapper, expected):
    cfg = Config(dict(optim_wrapper=wrapper))
    set_amp(cfg, 'bfloat16')
    assert cfg.optim_wrapper.to_dict() == expected


def test_amp_refuses_a_wrapper_it_does_not_know():
    cfg = Config(dict(optim_wrapper=dict(type='ApexOptimWrapper')))
    with pytest.raises(ConfigError, match='ApexOptimWrapper'):
        set_amp(cfg, 'bfloat16')


def config(lr=1.0, **scaling):
    return Config(dict(
        optim_wrapper=dict(type='mimplug.OptimWrapper',
                           optimizer=dict(type='SGD', lr=lr),
                           accumulative_counts=4),
        train_dataloader=dict(batch_size=16), auto_scale_lr=scaling))


def test_scale_lr_counts_processes_batch_and_accumulation():
    cfg = config()
    note = scale_lr(cfg, 2)
    assert cfg.optim_wrapper.optimizer.lr == 2 * 16 * 4 / 256
    assert 'lr 1 -> 0.5' in note


def test_scale_lr_is_not_repeated_by_mmengine_or_by_us():
    cfg = config(base_batch_size=128, enable=True)
    scale_lr(cfg, 2)
    assert cfg.optim_wrapper.optimizer.lr == 1.0
    assert cfg.auto_scale_lr.enable is False
    with pytest.raises(ConfigError, match='already'):
        scale_lr(cfg, 2)


def test_scale_lr_needs_one_lr():
    cfg = config()
    del cfg.optim_wrapper.optimizer['lr']
    with pytest.raises(ConfigError, match=r'optim_wrapper\.optimizer\.lr'):
        scale_lr(cfg, 2)


def test_train_arguments(toy_config):
    args = parse('train', toy_config, '--seed', '5', '--no-validate',
                 '--resume', '--auto-scale-lr', '--amp')
    cfg = load_config(args)
    notes = apply_arguments(cfg, args)
    assert cfg.randomness == dict(seed=5)
    assert cfg.val_cfg is cfg.val_dataloader is cfg.val_evaluator is None
    assert (cfg.resume, cfg.load_from) == (True, None)
    assert cfg.optim_wrapper.optimizer.lr == 0.01 * 2 / 4
    assert cfg.optim_wrapper.dtype == 'bfloat16'
    assert len(notes) == 2


def test_enabled_in_the_config_counts_as_the_argument(toy_config):
    args = parse('train', toy_config, '--cfg-options',
                 'auto_scale_lr.enable=True', '--resume', 'a.pth')
    cfg = load_config(args)
    apply_arguments(cfg, args)
    assert cfg.optim_wrapper.optimizer.lr == 0.01 * 2 / 4
    assert (cfg.resume, cfg.load_from) == (True, 'a.pth')
