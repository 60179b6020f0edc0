"""Real runs through the tools."""
from __future__ import annotations

import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mimplug.cli import main
from mimplug.cli._build import build_runner
from mimplug.converters import read_file

ROOT = Path(__file__).resolve().parents[2]


def run(*command):
    """Runs a tool as a user would; returns the finished process."""
    path = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    environ = {key: value for key, value in os.environ.items()
               if key not in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'PORT')}
    return subprocess.run(
        [str(word) for word in command], text=True, capture_output=True,
        timeout=200, env={
            **environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1',
            'PYTHON': sys.executable})


@pytest.mark.e2e
def test_train_resume_and_test(toy_config, tmp_path):
    out = tmp_path / 'out'
    first = run(sys.executable, ROOT / 'tools' / 'train.py', toy_config,
                '--work-dir', out, '--seed', '1')
    assert first.returncode == 0, first.stderr
    checkpoint = out / 'epoch_1.pth'
    assert checkpoint.is_file()
    name = f'experiment_name={tmp_path.name}'
    assert main(['train', str(toy_config), '--work-dir', str(out), '--resume',
                 '--cfg-options', 'train_cfg.max_epochs=2', name]) == 0
    log = max(out.glob('*/*.log'), key=os.path.getmtime).read_text()
    assert 'Epoch(train) [2]' in log
    assert 'Epoch(train) [1]' not in log
    metrics = tmp_path / 'metrics.json'
    assert main(['test', str(toy_config), str(checkpoint), '--out',
                 str(metrics), '--cfg-options', f'{name}_test']) == 0
    assert metrics.read_text() == '{"count": 8}'


def run_and_watch(monkeypatch, *arguments):
    """Trains; returns the order of the images and the lines of the log."""
    seen, lines = [], []

    class Watch(Hook):

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            seen.append(data_batch['inputs'].flatten().tolist())

    def build(cfg):
        runner = build_runner(cfg)
        runner.register_hook(Watch())
        lines.append(f'seed of the run: {runner.seed}')
        patch.setattr(runner.logger, 'info', lines.append)
        return runner

    with monkeypatch.context() as patch:
        patch.setattr('mimplug.cli._build.build_runner', build)
        assert main(['train', *map(str, arguments)]) == 0
    return seen, lines


@pytest.mark.e2e
@pytest.mark.parametrize('own, given', [
    ('', []),  # every run draws its own seed
    ('randomness = dict(seed=0)', ['--seed', '5'])])
def test_resume_keeps_the_seed(toy_config, tmp_path, monkeypatch, own, given):
    def train(name, epochs, *arguments):
        return run_and_watch(
            monkeypatch, toy_config, '--work-dir', tmp_path / name,
            '--no-validate', *arguments, '--cfg-options',
            'train_dataloader.sampler.shuffle=True',
            f'train_cfg.max_epochs={epochs}',
            f'experiment_name={tmp_path.name}-{name}-{epochs}')

    toy_config.write_text(toy_config.read_text() + own)
    first, _ = train('part', 1, *given)
    seed = read_file(tmp_path / 'part' / 'epoch_1.pth')['meta']['seed']
    whole, _ = train('whole', 2, '--seed', seed)
    assert whole[:4] == first
    rest, lines = train('part', 2, '--resume')
    assert rest == whole[4:]
    assert f'seed of the run: {seed}' in lines
    path = tmp_path / 'part' / 'epoch_1.pth'
    config = 0 if own else None
    assert f'Seed {seed} of {path} (config: {config})' in lines


@pytest.mark.full
@pytest.mark.dist
def test_two_processes(toy_config, tmp_path):
    out = tmp_path / 'out'
    result = run('bash', ROOT / 'tools' / 'dist_train.sh', toy_config, 2,
                 '--work-dir', out, '--auto-scale-lr')
    assert result.returncode == 0, result.stderr
    text = result.stdout + result.stderr
    assert 'world: 2.0' in text
    assert '2 process(es) x batch 2 x accumulation 1, base batch 4' in text
    # 8 numbers, 2 a process: two iterations instead of four.
    assert '[1][2/2]' in text


@pytest.mark.e2e
def test_nothing_keeps_the_process_group(toy_config, tmp_path, monkeypatch):
    """A model that does keeps its threads, which can abort the process."""
    models = []

    def build(cfg):
        runner = build_runner(cfg)
        models.append(weakref.ref(runner.model))
        return runner

    monkeypatch.setattr('mimplug.cli._build.build_runner', build)
    for name, value in dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0,
                            MASTER_ADDR='127.0.0.1', MASTER_PORT=0,
                            OMP_NUM_THREADS=1, MKL_NUM_THREADS=1).items():
        monkeypatch.setenv(name, str(value))
    assert main(['train', str(toy_config), '--work-dir', str(tmp_path / 'a'),
                 '--launcher', 'pytorch', '--cfg-options',
                 f'experiment_name={tmp_path.name}']) == 0
    assert not torch.distributed.is_initialized()
    assert [model() for model in models] == [None]


@pytest.mark.unit
def test_wrong_setting_is_exit_code_2(toy_config, capsys):
    code = main(['train', str(toy_config), '--cfg-options',
                 'optim_wrapper.type=mimplug.OptimWraper'])
    assert code == 2
    assert "did you mean 'mimplug.OptimWrapper'" in capsys.readouterr().err


@pytest.mark.unit
def test_launcher_without_its_variables(toy_config, capsys, monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    assert main(['train', str(toy_config), '--launcher', 'pytorch']) == 2
    assert 'RANK is not set' in capsys.readouterr().err


@pytest.mark.unit
def test_test_refuses_weights_of_another_model(toy_config, tmp_path,
                                               capsys):
    path = tmp_path / 'other.pth'
    torch.save(dict(state_dict={'layer.weigth': torch.ones(1, 1),
                                'layer.bias': torch.ones(1)}), path)
    assert main(['test', str(toy_config), str(path), '--cfg-options',
                 f'experiment_name={tmp_path.name}']) == 1
    message = capsys.readouterr().err
    assert 'layer.weight (nearest: layer.weigth)' in message


@pytest.mark.unit
def test_test_needs_a_loop(toy_config, capsys):
    code = main(['test', str(toy_config), 'x.pth', '--cfg-options',
                 'val_cfg=None'])
    assert code == 2
    assert 'neither test_cfg nor val_cfg' in capsys.readouterr().err
