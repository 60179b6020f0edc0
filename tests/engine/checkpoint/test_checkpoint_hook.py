"""mimplug.CheckpointHook in real runs."""
from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from torch import nn
from toy_checkpoints import EPOCHS, Stop, lines_of, load, same, saved

from mimplug.engine import CheckpointHook
from mimplug.engine.hooks import checkpoint as module
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.mark.parametrize('loop', EPOCHS)
def test_content_is_plain_and_complete(make_run, monkeypatch, loop):
    runner = make_run(loop=loop, interval=1, history=4)
    warnings = lines_of(runner, monkeypatch)
    runner.train()
    assert not [line for line in warnings if 'Not in the checkpoint' in line]
    content = load(runner, 'epoch_2.pth')
    assert set(content) == {'meta', 'state_dict', 'message_hub', 'optimizer',
                            'param_schedulers', 'rng'}
    assert (content['meta']['epoch'], content['meta']['iter']) == (2, 10)
    assert content['meta']['seed'] == 3
    assert ('position' in content['meta']) == (loop == EPOCHS[0])
    losses = content['message_hub']['log_scalars']['train/loss']
    assert len(losses['values']) == 4
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith(
        'epoch_3.pth')


@pytest.mark.parametrize('loop', [EPOCHS[0], 'IterBasedTrainLoop'])
def test_a_save_waits_for_the_end_of_the_group(make_run, loop):
    runner = make_run(loop=loop, accumulation=3, interval=4, by_epoch=False,
                      total=2 if 'Epoch' in loop else 10)
    runner.train()
    # 4 → 6, 8 → 9, and the last iteration in any case
    assert saved(runner) == ['iter_10.pth', 'iter_6.pth', 'iter_9.pth']
    assert load(runner, 'iter_6.pth')['meta']['iter'] == 6


@pytest.mark.parametrize('loop, iterations', zip(EPOCHS, (6, 5)))
def test_an_epoch_that_ends_within_a_group(make_run, loop, iterations):
    # 5 batches an epoch, 2 a step: epoch 1 ends within the third step
    kwargs = dict(loop=loop, accumulation=2, interval=1)
    whole = make_run('whole', **kwargs)
    whole.train()
    assert saved(whole) == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    with pytest.raises(KeyboardInterrupt):
        make_run('part', hooks=[Stop(8)], **kwargs).train()
    meta = load(whole, 'epoch_1.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (1, iterations)
    if loop == EPOCHS[1]:  # it could not go on in the middle
        return
    assert meta['position']['epoch_samples'] == 2
    rest = make_run('part', resume=True, **kwargs)
    rest.train()
    for name in ('epoch_2.pth', 'epoch_3.pth'):
        expected, got = load(whole, name), load(rest, name)
        for part in ('state_dict', 'optimizer', 'param_schedulers', 'rng'):
            assert same(got[part], expected[part]), (name, part)


def test_old_files_go_after_the_new_one_is_there(make_run, monkeypatch):
    seen = []
    real = module.save_file

    def watch(content, path, *args):
        folder = Path(path).parent
        real(content, path, *args)
        seen.append(sorted(file.name for file in folder.glob('*.pth')))

    monkeypatch.setattr(module, 'save_file', watch)
    runner = make_run(interval=1, max_keep_ckpts=1, total=2)
    runner.train()
    assert seen == [['epoch_1.pth'], ['epoch_1.pth', 'epoch_2.pth']]
    assert saved(runner) == ['epoch_2.pth']


def test_a_crash_before_pruning_leaves_nothing_behind(make_run, monkeypatch):
    kwargs = dict(interval=1, max_keep_ckpts=1)
    monkeypatch.setattr(CheckpointHook, '_note_latest', lambda *a: (
        _ for _ in ()).throw(KeyboardInterrupt) if a[0].saved_at == 10 else 0)
    with pytest.raises(KeyboardInterrupt):
        make_run(total=3, **kwargs).train()
    monkeypatch.undo()
    runner = make_run(total=3, resume=True, **kwargs)
    assert saved(runner) == ['epoch_1.pth', 'epoch_2.pth']
    runner.train()
    assert saved(runner) == ['epoch_3.pth']


def test_two_hooks_keep_their_own_files(make_run):
    hook = 'mimplug.CheckpointHook'
    runner = make_run(total=4, default_hooks=dict(
        checkpoint=dict(type=hook, interval=1, max_keep_ckpts=1),
        milestone=dict(type=hook, interval=2, max_keep_ckpts=2,
                       save_last=False, priority='LOW',
                       filename_tmpl='milestone_epoch_{}.pth')))
    runner.train()
    assert saved(runner) == ['epoch_4.pth', 'milestone_epoch_2.pth',
                             'milestone_epoch_4.pth']
    note = Path(runner.work_dir, 'last_checkpoint').read_text()
    assert note.endswith('/epoch_4.pth')


def test_a_full_disk_does_not_end_the_run(make_run, monkeypatch):
    real, broken = os.replace, [True]

    def replace(source, target):
        if broken[0] and 'epoch_2' in str(target):
            raise OSError(errno.ENOSPC, 'No space left on device')
        real(source, target)

    runner = make_run(interval=1, max_keep_ckpts=1)
    warnings = lines_of(runner, monkeypatch)
    monkeypatch.setattr('mimplug.engine.checkpoint.files.os.replace', replace)
    runner.train()
    line, = [line for line in warnings if 'could not be saved' in line]
    assert 'epoch_2.pth' in line
    assert 'No space left' in line
    assert saved(runner) == ['epoch_3.pth']
    assert load(runner, 'epoch_3.pth')['message_hub']['runtime_info'][
        'last_ckpt'].endswith('epoch_3.pth')
    assert not list(Path(runner.work_dir).glob('.*.tmp'))


def test_a_full_disk_does_not_end_a_sharded_run(tmp_path):
    lines = []

    def save(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    # a flexible runner: its strategy writes
    runner = SimpleNamespace(
        save_checkpoint=save, message_hub=MessageHub('sharded'), iter=4,
        model=nn.Identity(), epoch=0, train_loop=SimpleNamespace(),
        optim_wrapper=SimpleNamespace(),
        logger=SimpleNamespace(warning=lines.append, info=lines.append))
    hook = CheckpointHook(interval=1)
    hook.out_dir, hook.file_backend = str(tmp_path), LocalBackend()
    assert hook.save_now(runner) is None
    assert 'No space left' in lines[0]
    assert hook.kept == []


def test_the_older_file_stays_when_the_newer_fails(make_run, monkeypatch):
    runner = make_run(interval=1, max_keep_ckpts=1, total=2)
    real = module.save_file
    monkeypatch.setattr(module, 'save_file', lambda content, path, *a: real(
        content, path if 'epoch_1' in path else '/proc/none/x', *a))
    runner.train()
    assert saved(runner) == ['epoch_1.pth']
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith(
        'epoch_1.pth')


def test_other_hooks_change_the_content(make_run):
    class Add(Hook):

        def before_save_checkpoint(self, runner, checkpoint):
            checkpoint['extra'] = dict(a=torch.ones(2), b=Path('x'))

    runner = make_run(interval=1, total=1, hooks=[
        Add(), dict(type='EMAHook')])
    runner.train()
    content = load(runner, 'epoch_1.pth')
    assert content['extra']['b'] == 'x'
    assert torch.equal(content['ema_state_dict']['module.body.0.bias'],
                       runner.model.body[0].bias)


@pytest.mark.parametrize('settings, word', [
    (dict(filename_tmpl='a.pth'), 'filename_tmpl'),
    (dict(filename_tmpl='{}-{}.pth'), 'filename_tmpl'),
    (dict(save_begin=-1), 'save_begin'), (dict(history=0), 'history'),
    (dict(save_best='x', rule='most'), 'rule'),
    (dict(save_best='unclear'), 'infer the rule')])
def test_wrong_settings(settings, word):
    with pytest.raises(ConfigError, match=word):
        CheckpointHook(**settings)
