"""Files of the best validation, and published copies."""
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import ValLoop

from mimplug.engine.hooks import checkpoint as module
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


class Scores(BaseMetric):
    """Returns given values one after the other."""

    def __init__(self, *values):
        super().__init__()
        self.values = list(values)

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return self.values.pop(0)


class Epochs(ValLoop):
    """A validation that looks at no batch."""

    def run_iter(self, idx, data_batch):
        self.evaluator.process([], [])


def validated(*scores):
    """Settings of a runner whose validations give these metrics."""
    return dict(
        val_cfg=dict(type=Epochs), val_evaluator=[Scores(*scores)],
        val_dataloader=dict(
            dataset=[dict(inputs=torch.zeros(2))], batch_size=1,
            num_workers=0, sampler=dict(type='DefaultSampler')))


def names(runner):
    return sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))


def test_the_best_replaces_the_former(make_run, monkeypatch):
    seen = []
    real = module.save_file

    def watch(content, path, *args):
        real(content, path, *args)
        seen.append(sorted(file.name for file in
                           Path(path).parent.glob('best_*')))

    monkeypatch.setattr(module, 'save_file', watch)
    runner = make_run(total=3, interval=1, max_keep_ckpts=1, save_best='acc',
                      val=validated({'acc': 0.2}, {'acc': 0.5}, {'acc': 0.4}))
    runner.train()
    assert names(runner) == ['best_acc_epoch_2.pth', 'epoch_3.pth']
    # never without one: the new file is there before the old one goes
    assert ['best_acc_epoch_1.pth', 'best_acc_epoch_2.pth'] in seen
    best = torch.load(Path(runner.work_dir, 'best_acc_epoch_2.pth'),
                      weights_only=True)
    assert 'optimizer' not in best
    assert best['meta']['iter'] == 10


def test_a_resumed_run_knows_the_best(make_run):
    kwargs = dict(interval=1, max_keep_ckpts=1, save_best='auto',
                  rule='greater')
    make_run(total=1, val=validated({'hits': 0.6}), **kwargs).train()
    runner = make_run(total=3, resume=True, val=validated(
        {'hits': 0.5}, {'hits': 0.7}), **kwargs)
    runner.train()
    assert names(runner) == ['best_hits_epoch_3.pth', 'epoch_3.pth']
    info = torch.load(Path(runner.work_dir, 'epoch_3.pth'), weights_only=True
                      )['message_hub']['runtime_info']
    assert info['best_score'] == 0.7


def test_several_metrics(make_run):
    runner = make_run(
        total=2, interval=2, save_best=['acc', 'val/loss'],
        val=validated({'acc': 0.6, 'val/loss': 3.0},
                      {'acc': 0.5, 'val/loss': 2.0}))
    runner.train()
    assert names(runner) == ['best_acc_epoch_1.pth',
                             'best_val_loss_epoch_2.pth', 'epoch_2.pth']


def test_a_failed_save_keeps_the_former_best(make_run, monkeypatch):
    real = module.save_file
    monkeypatch.setattr(module, 'save_file', lambda content, path, *a: real(
        content, path if 'best_acc_epoch_2' not in path else '/proc/none/x',
        *a))
    runner = make_run(total=2, interval=1, save_best='acc', val=validated(
        {'acc': 0.2}, {'acc': 0.5}))
    runner.train()
    assert 'best_acc_epoch_1.pth' in names(runner)
    assert runner.message_hub.get_info('best_score') == 0.2


def test_an_unknown_metric(make_run):
    runner = make_run(total=1, save_best='acc', val=validated({'ac': 0.2}))
    with pytest.raises(ConfigError, match=r"save_best='acc'.*'ac'"):
        runner.train()


def test_published_copies(make_run):
    runner = make_run(total=1, interval=1,
                      published_keys=['meta', 'state_dict'])
    runner.train()
    path, = Path(runner.work_dir).glob('epoch_1-*.pth')
    assert set(torch.load(path, weights_only=True)) == {'meta', 'state_dict'}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.name == f'epoch_1-{digest[:8]}.pth'
