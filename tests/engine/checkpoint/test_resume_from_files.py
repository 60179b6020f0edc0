"""What a run goes on from, and that it goes on as if it had not stopped."""
from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_checkpoints import EPOCHS, Stop, load, same, saved

from mimplug.engine.hooks import checkpoint as module
from mimplug.errors import CheckpointError

pytestmark = pytest.mark.unit


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


def test_a_resumed_run_goes_on_removing(make_run):
    kwargs = dict(interval=1, max_keep_ckpts=2)
    make_run(total=3, **kwargs).train()
    runner = make_run(total=4, resume=True, **kwargs)
    runner.train()
    assert saved(runner) == ['epoch_3.pth', 'epoch_4.pth']
    fewer = make_run(total=5, resume=True, interval=1, max_keep_ckpts=1)
    fewer.train()
    assert saved(fewer) == ['epoch_5.pth']


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
