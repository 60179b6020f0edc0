"""What a run starts from: seed of a resumed one, how much of a file fits."""
from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from torchvision.models import resnet18
from toy_ibot import tiny_ibot

from mimplug.cli import build_parser, main
from mimplug.cli._checkpoint import (
    LoadReportHook,
    first_checkpoint,
    keep_seed,
    start_from,
)
from mimplug.cli.train import asked_seed
from mimplug.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture
def checkpoint(tmp_path):
    """A file of a run with seed 5."""
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict={}, meta=dict(seed=5, iter=4)), path)
    return str(path)


@pytest.mark.parametrize('randomness', [
    None, dict(seed=0), dict(seed=5), dict(diff_rank_seed=True)])
@pytest.mark.parametrize('asked', [None, 5])
def test_seed_comes_from_the_checkpoint(checkpoint, randomness, asked):
    cfg = Config(dict(randomness=randomness))
    note, = keep_seed(cfg, checkpoint, asked)
    assert cfg.randomness.to_dict() == {**(randomness or {}), 'seed': 5}
    assert f'Seed 5 of {checkpoint}' in note


def test_another_seed_is_refused(toy_config, checkpoint, capsys):
    with pytest.raises(ConfigError, match=r'seed 0 is asked for.*seed 5,'):
        keep_seed(Config({}), checkpoint, 0)
    for words in (['--seed', '7'], ['--cfg-options', 'randomness.seed=7']):
        assert main(['train', str(toy_config), '--resume', checkpoint,
                     *words]) == 2
        message = capsys.readouterr().err
        assert 'seed 7' in message
        assert 'seed 5' in message


@pytest.mark.parametrize('words, seed', [
    ([], None), (['--seed', '0'], 0),
    (['--cfg-options', 'randomness.seed=3', 'a=1'], 3),
    (['--seed', '4', '--cfg-options', 'randomness.seed=3'], 4)])
def test_seed_on_the_command_line(words, seed):
    args = build_parser().parse_args(['train', 'c.py', *words])
    assert asked_seed(args) == seed


def test_a_checkpoint_without_seed_changes_nothing(tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(dict(meta=dict(iter=4)), path)
    cfg = Config(dict(randomness=dict(seed=0)))
    assert keep_seed(cfg, str(path), 7) == []
    assert cfg.randomness.seed == 0


@pytest.mark.parametrize('content', [
    {'layer.weight': torch.ones(1)}, dict(meta=dict(seed=1)), [1]])
def test_only_runs_are_resumed(toy_config, tmp_path, capsys, content):
    torch.save(content, tmp_path / 'a.pth')
    assert main(['train', str(toy_config), '--resume', 'a.pth']) == 1
    assert 'no position of a run' in capsys.readouterr().err


def test_first_checkpoint(tmp_path):
    cfg = Config(dict(work_dir=str(tmp_path / 'run'), default_hooks=dict(
        checkpoint=dict(type='mimplug.CheckpointHook',
                        out_dir=str(tmp_path / 'other')))))
    for place, done in (('run', 3), ('other/run', 8)):
        (tmp_path / place).mkdir(parents=True)
        torch.save(dict(meta=dict(iter=done)), tmp_path / place / 'a.pth')
    assert first_checkpoint(cfg) is None
    cfg.resume = True
    assert first_checkpoint(cfg) == str(tmp_path / 'other/run/a.pth')
    cfg.default_hooks.checkpoint.out_dir = None
    assert first_checkpoint(cfg) == str(tmp_path / 'run/a.pth')
    cfg.load_from = 'b.pth'
    assert first_checkpoint(cfg) == 'b.pth'


def report(model, content):
    """Warnings of the hook for a file with this content."""
    lines = []
    runner = SimpleNamespace(
        model=model, logger=SimpleNamespace(warning=lines.append))
    LoadReportHook('a.pth').after_load_checkpoint(runner, content)
    return lines


def test_files_that_fit():
    model = tiny_ibot()
    state = model.state_dict()
    student = {name: value for name, value in state.items()
               if not name.startswith('teacher.')}
    assert report(model, dict(state_dict=state)) == []
    assert report(model, student) == []
    assert report(torch.nn.DataParallel(model), {
        f'module.{name}': value for name, value in state.items()}) == []
    big = tiny_ibot(backbone=dict(img_size=32))
    assert report(big, dict(state_dict=state)) == []


def test_a_part_is_a_warning_with_counts():
    model = tiny_ibot()
    student = {name: value for name, value in model.state_dict().items()
               if not name.startswith('teacher.')}
    backbone = {name: value for name, value in student.items()
                if name.startswith('backbone.')}
    line, = report(model, {**backbone, 'other': torch.ones(2)})
    assert f'{len(backbone)} of {len(student)} tensors fit' in line
    assert 'unexpected in the file (1)' in line


def test_nothing_fits():
    with pytest.raises(CheckpointError, match=r'0 of \d+ tensors fit'):
        report(tiny_ibot(), dict(state_dict=resnet18().state_dict()))


def test_train_refuses_or_warns(toy_config, tmp_path, capsys):
    def train(state):
        torch.save(dict(state_dict=state), tmp_path / 'a.pth')
        out = tmp_path / f'run{len(state)}'
        code = main(['train', str(toy_config), '--work-dir', str(out),
                     '--cfg-options', 'load_from=a.pth',
                     f'experiment_name={tmp_path.name}-{len(state)}'])
        log, = out.glob('*/*.log')
        return code, log.read_text()

    code, log = train(resnet18(num_classes=1).state_dict())
    assert code == 1
    assert 'Epoch(train)' not in log
    assert "type='mimplug.Pretrained'" in capsys.readouterr().err
    code, log = train({'layer.weight': torch.ones(1, 1)})
    assert code == 0
    assert '1 of 2 tensors fit' in log


class Trap:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return shutil.copy, ('toy_config.py', 'sprung')


@pytest.mark.parametrize('resume', [True, False])
def test_no_pickle_is_run(toy_config, tmp_path, resume):
    def train(name, *words):
        return main([
            'train', str(toy_config), '--work-dir', name, '--no-validate',
            *words, '--cfg-options', 'train_cfg.max_epochs=2',
            f'experiment_name={tmp_path.name}-{name}'])

    assert train('first') == 0
    path = tmp_path / 'first' / 'epoch_1.pth'  # of MMEngine's hook
    content = torch.load(path, weights_only=False)
    assert type(content['message_hub']['log_scalars']['train/loss']
                ).__name__ == 'HistoryBuffer'
    content['trap'] = Trap()
    torch.save(content, path)
    toy_config.write_text(toy_config.read_text().replace(
        'default_hooks = dict(', 'default_hooks = dict('
        "checkpoint=dict(type='mimplug.CheckpointHook'), "))
    if not resume:
        toy_config.write_text(
            f"{toy_config.read_text()}\nload_from = '{path}'")
    assert train('next', *(['--resume', str(path)] if resume else [])) == 0
    assert not (tmp_path / 'sprung').exists()
    log, = tmp_path.glob('next/*/*.log')
    log = log.read_text()
    assert ('Epoch(train) [1]' in log) != resume
    assert 'they start anew: ' in log


def test_processes_that_see_different_files_do_not_start(monkeypatch):
    runner = SimpleNamespace(_resume=True, _load_from=None)
    monkeypatch.setattr('mimplug.cli._checkpoint.dist.all_gather_object',
                        lambda path: [path, 'epoch_2.pth'])
    with pytest.raises(CheckpointError, match=r"0: None, 1: 'epoch_2\.pth'"):
        start_from(runner, None)
    assert runner._resume
