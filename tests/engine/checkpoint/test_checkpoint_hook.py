"""mimplug.CheckpointHook in real runs."""
from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from mimplug.engine import CheckpointHook
from mimplug.engine.hooks import checkpoint as module
from mimplug.errors import CheckpointError, ConfigError

pytestmark = pytest.mark.unit
EPOCHS = ['mimplug.EpochTrainLoop', 'EpochBasedTrainLoop']


def saved(runner):
    """Names of the checkpoints in the work directory."""
    return sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))


def load(runner, name):
    """A checkpoint, read without running code."""
    return torch.load(Path(runner.work_dir) / name, weights_only=True)


def same(left, right):
    """Whether two nested states are equal to the bit."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(
            same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def lines_of(runner, monkeypatch):
    """Collects the warnings of the runner."""
    lines = []
    monkeypatch.setattr(runner.logger, 'warning', lines.append)
    return lines


class Stop(Hook):
    """Ends the process after some iterations, as a crash would."""

    priority = 'LOWEST'

    def __init__(self, iterations):
        self.iterations = iterations

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        if runner.iter + 1 == self.iterations:
            raise KeyboardInterrupt


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


# MMEngine's iteration loop makes its iterator, which draws, on resuming
@pytest.mark.parametrize('loop', [*EPOCHS, 'mimplug.IterTrainLoop'])
def test_resume_is_exact_with_global_generators(make_run, loop):
    by_epoch, total = 'Epoch' in loop, 3 if 'Epoch' in loop else 12
    kwargs = dict(loop=loop, interval=1 if by_epoch else 6, total=total,
                  by_epoch=by_epoch)
    whole = make_run('whole', **kwargs)
    whole.train()
    part = make_run('part', hooks=[Stop(8)], **kwargs)
    with pytest.raises(KeyboardInterrupt):
        part.train()
    rest = make_run('part', resume=True, **kwargs)
    rest.train()
    last = saved(whole)[-1] if by_epoch else 'iter_12.pth'
    expected, got = load(whole, last), load(rest, last)
    for part in ('state_dict', 'optimizer', 'param_schedulers', 'rng'):
        assert same(got[part], expected[part]), part
    history = [content['message_hub']['log_scalars']['train/loss']['values']
               for content in (expected, got)]
    assert torch.equal(*history)


def test_without_the_generators_it_would_differ(make_run, monkeypatch):
    whole = make_run('whole', interval=1)
    whole.train()
    with pytest.raises(KeyboardInterrupt):
        make_run('part', interval=1, hooks=[Stop(8)]).train()
    monkeypatch.setattr(module, 'restore_rng', lambda *args: True)
    rest = make_run('part', interval=1, resume=True)
    rest.train()
    assert not same(load(rest, 'epoch_3.pth')['state_dict'],
                    load(whole, 'epoch_3.pth')['state_dict'])


@pytest.mark.parametrize('loop', [EPOCHS[0], 'IterBasedTrainLoop'])
def test_a_save_waits_for_the_end_of_the_group(make_run, loop):
    runner = make_run(loop=loop, accumulation=3, interval=4, by_epoch=False,
                      total=2 if 'Epoch' in loop else 10)
    runner.train()
    # 4 → 6, 8 → 9, and the last iteration in any case
    assert saved(runner) == ['iter_10.pth', 'iter_6.pth', 'iter_9.pth']
    assert load(runner, 'iter_6.pth')['meta']['iter'] == 6


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


def test_a_resumed_run_goes_on_removing(make_run):
    kwargs = dict(interval=1, max_keep_ckpts=2)
    make_run(total=3, **kwargs).train()
    runner = make_run(total=4, resume=True, **kwargs)
    runner.train()
    assert saved(runner) == ['epoch_3.pth', 'epoch_4.pth']
    fewer = make_run(total=5, resume=True, interval=1, max_keep_ckpts=1)
    fewer.train()
    assert saved(fewer) == ['epoch_5.pth']


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


def test_the_older_file_stays_when_the_newer_fails(make_run, monkeypatch):
    runner = make_run(interval=1, max_keep_ckpts=1, total=2)
    real = module.save_file
    monkeypatch.setattr(module, 'save_file', lambda content, path, *a: real(
        content, path if 'epoch_1' in path else '/proc/none/x', *a))
    runner.train()
    assert saved(runner) == ['epoch_1.pth']
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith(
        'epoch_1.pth')


def test_a_damaged_newest_file_falls_back(make_run, monkeypatch):
    make_run(interval=1, total=2).train()
    runner = make_run(interval=1, total=3, resume=True)
    path = Path(runner.work_dir, 'epoch_2.pth')
    path.write_bytes(path.read_bytes()[:-200])
    warnings = []
    monkeypatch.setattr('mimplug.engine.checkpoint.find.print_log',
                        lambda text, **kwargs: warnings.append(text))
    runner.train()
    line, = warnings
    assert str(path) in line
    assert runner._load_from.endswith('epoch_1.pth')
    assert load(runner, 'epoch_2.pth')['meta']['iter'] == 10  # written anew


def test_nothing_to_resume_is_a_new_run(make_run):
    runner = make_run(interval=1, total=1, resume=True)
    Path(runner.work_dir).mkdir(exist_ok=True)
    Path(runner.work_dir, 'last_checkpoint').write_text('gone/epoch_3.pth')
    runner.train()
    assert saved(runner) == ['epoch_1.pth']


def test_only_runs_are_resumed(make_run, tmp_path):
    runner = make_run(resume=True, load_from=str(tmp_path / 'a.pth'))
    torch.save(dict(state_dict=runner.model.state_dict()),
               tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='no position of a run'):
        runner.train()


def test_weights_of_a_run_start_a_new_one(make_run):
    first = make_run('first', interval=1, total=2)
    first.train()
    second = make_run('second', interval=1, total=1, load_from=str(
        Path(first.work_dir, 'epoch_2.pth')))
    second.train()
    meta = load(second, 'epoch_1.pth')['meta']
    assert (meta['epoch'], meta['iter']) == (1, 5)


def test_files_of_mmengines_hook_are_resumed(make_run):
    stock = dict(checkpoint=dict(
        type='CheckpointHook', interval=1, max_keep_ckpts=1))
    make_run(total=2, default_hooks=stock).train()
    runner = make_run(total=3, resume=True, interval=1, max_keep_ckpts=1)
    runner.train()
    assert saved(runner) == ['epoch_3.pth']  # theirs is pruned, too
    assert load(runner, 'epoch_3.pth')['meta']['iter'] == 15


def test_mmengines_hook_resumes_our_files(make_run):
    make_run(total=2, interval=1).train()
    runner = make_run(total=3, resume=True, loop=EPOCHS[1],
                      default_hooks=dict(checkpoint=dict(
                          type='CheckpointHook', interval=1)))
    runner.train()
    assert runner.iter == 15
    assert saved(runner)[-1] == 'epoch_3.pth'


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
