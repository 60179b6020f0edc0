"""``mimplug knn`` on a model of one layer."""
import json
import sys
import weakref
from pathlib import Path

import pytest
import torch

from mimplug.cli import main
from mimplug.cli._build import build_runner
from mimplug.cli.knn import format_table

EVALUATION = Path(__file__).parents[1] / 'evaluation'
CONFIG = """
custom_imports = dict(imports=['toy_knn'], allow_failed_imports=False)
default_scope = 'mmpretrain'
model = dict(type='ToyAlgorithm')
loader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='ToyImages', size=24),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(
    batch_size=4, num_workers=0,
    dataset=dict(type='ToyImages', size=10, seed=1),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_cfg = dict(type='mimplug.KNNValLoop', bank=loader, k=(3, ),
               clustering=True)
val_evaluator = []
load_from = 'a file that this command must not ask for'
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Path of the config; its checkpoint lies beside it."""
    monkeypatch.syspath_prepend(str(EVALUATION))
    from toy_knn import ToyAlgorithm
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(dict(state_dict=ToyAlgorithm().state_dict()), 'weights.pth')
    Path('toy_config.py').write_text(CONFIG)
    return 'toy_config.py'


@pytest.mark.e2e
def test_prints_and_writes(config, capsys):
    sys.modules['toy_knn'].register()
    assert main(['knn', config, 'weights.pth', '--k', '5', '20',
                 '--temperature', '0.1', '--out', 'out.json']) == 0
    metrics = json.loads(Path('out.json').read_text())
    names = {f'knn/top{top}_k{k}' for top in (1, 5) for k in (5, 20)}
    assert names < set(metrics)
    table = capsys.readouterr().out
    assert f'     5  {metrics["knn/top1_k5"]:7.2f}' in table
    assert f'cluster/nmi: {metrics["cluster/nmi"]:.4f}' in table


@pytest.mark.e2e
def test_teacher_and_student_differ(config):
    sys.modules['toy_knn'].register()
    results = {}
    for key in ('auto', 'teacher', 'student'):
        assert main(['knn', config, 'weights.pth', '--key', key, '--out',
                     f'{key}.json']) == 0
        results[key] = json.loads(Path(f'{key}.json').read_text())
    assert results['auto'] == results['teacher']
    assert results['auto']['cluster/nmi'] != results['student']['cluster/nmi']


@pytest.mark.unit
@pytest.mark.parametrize('options, text', [
    (['--k', '25'], 'k=25: the bank has 24 images'),
    (['--cfg-options', 'val_cfg.type=ValLoop'], "its loop: 'ValLoop'"),
    (['--cfg-options', 'val_cfg.bank.dataset.labelled=0'],
     'k-NN needs labels'),
])
def test_errors(config, capsys, options, text):
    sys.modules['toy_knn'].register()
    assert main(['knn', config, 'weights.pth', *options]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.e2e
@pytest.mark.parametrize('command', ['knn', 'test'])
def test_the_process_group_is_taken_down(config, monkeypatch, command):
    sys.modules['toy_knn'].register()
    for name, value in dict(RANK=0, WORLD_SIZE=1, LOCAL_RANK=0,
                            MASTER_ADDR='127.0.0.1', MASTER_PORT=0,
                            OMP_NUM_THREADS=1, MKL_NUM_THREADS=1).items():
        monkeypatch.setenv(name, str(value))
    models = []

    def build(cfg):
        runner = build_runner(cfg)
        models.append(weakref.ref(runner.model))
        return runner

    monkeypatch.setattr('mimplug.cli._build.build_runner', build)
    try:
        assert main([command, config, 'weights.pth', '--launcher',
                     'pytorch']) == 0
        assert not torch.distributed.is_initialized()
        # it would keep the threads of the group, which can abort the process
        assert [model() for model in models] == [None]
    finally:
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


@pytest.mark.unit
def test_weights_of_another_model(config, capsys):
    sys.modules['toy_knn'].register()
    torch.save({'other': torch.zeros(1)}, 'weights.pth')
    assert main(['knn', config, 'weights.pth']) == 1
    assert 'weights.pth' in capsys.readouterr().err


@pytest.mark.unit
def test_table():
    metrics = {'knn/top1_k10': 51.0, 'knn/top5_k10': 80.55,
               'knn/top1_k200': 49.0, 'knn/top5_k200': 100.0,
               'cluster/ari': 0.25}
    assert format_table(metrics, 'a.pth').splitlines() == [
        'a.pth', '     k  top-1 %  top-5 %', '    10    51.00    80.55',
        '   200    49.00   100.00', 'cluster/ari: 0.2500']
