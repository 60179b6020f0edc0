"""A signal ends a run in good order."""
from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy_signals import CONFIG, equal

from mimplug.cli import main
from mimplug.engine import SignalHook
from mimplug.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
WATCHED = [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT]


@pytest.fixture(autouse=True)
def _handlers_come_back():
    """Whatever a test does, the handlers of before are there after it."""
    before = [signal.getsignal(number) for number in WATCHED]
    yield
    after = [signal.getsignal(number) for number in WATCHED]
    for number, handler in zip(WATCHED, before):
        signal.signal(number, handler)
    assert after == before


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains in this process; returns the exit code."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c.py').write_text(CONFIG)
    calls = []

    def run(work, *options, resume=False):
        calls.append(work)
        return main(['train', 'c.py', '--work-dir', work,
                     *(['--resume'] if resume else []), '--cfg-options',
                     f'experiment_name={tmp_path.name}-{len(calls)}',
                     *options])

    return run


def kicked(name, at, **kwargs):
    """The config with a signal in an iteration."""
    hook = dict(type='Kick', name=name, at=at, **kwargs)
    return f'{CONFIG}\ncustom_hooks = [{hook}]'


@pytest.mark.unit
@pytest.mark.parametrize('name, code', [
    ('SIGTERM', 75), ('SIGUSR1', 75), ('SIGINT', 130)])
def test_saves_and_resumes_to_the_same_run(train, capfd, name, code):
    assert train('whole') == 0
    Path('c.py').write_text(kicked(name, 6))
    assert train('part') == code
    error = capfd.readouterr().err
    assert f'{name}: the run saves and stops' in error
    last = error.strip().splitlines()[-1]
    assert last.startswith('mimplug train: stopped by a signal after 6 it')
    assert 'part/iter_6.pth; the same command with --resume goes on' in last
    assert 'Traceback' not in error
    Path('c.py').write_text(CONFIG)
    assert train('part', resume=True) == 0
    assert equal('whole/epoch_6.pth', 'part/epoch_6.pth')


@pytest.mark.unit
def test_it_waits_for_the_end_of_the_optimiser_step(train):
    Path('c.py').write_text(kicked('SIGTERM', 4))
    assert train('a', 'optim_wrapper.accumulative_counts=3') == 75
    assert Path('a/iter_6.pth').is_file()


@pytest.mark.unit
def test_a_run_that_is_done_ends_by_itself(train):
    Path('c.py').write_text(kicked('SIGTERM', 24))
    assert train('a') == 0
    assert not Path('a/iter_24.pth').exists()


@pytest.mark.unit
def test_nothing_is_written_twice(train):
    Path('c.py').write_text(kicked('SIGTERM', 6))
    assert train('a', 'default_hooks.checkpoint.by_epoch=False',
                 'default_hooks.checkpoint.interval=3',
                 'default_hooks.checkpoint.filename_tmpl=x_{}.pth') == 75
    assert sorted(path.name for path in Path('a').glob('*.pth')) == [
        'x_3.pth', 'x_6.pth']


@pytest.mark.unit
def test_without_a_checkpoint_hook_it_says_so(train, capfd):
    Path('c.py').write_text(kicked('SIGTERM', 6))
    assert train('a', 'default_hooks.checkpoint.type=CheckpointHook') == 75
    assert 'there is no checkpoint of it' in capfd.readouterr().err


@pytest.mark.unit
def test_the_second_signal_acts_at_once(train):
    Path('c.py').write_text(kicked('SIGINT', 6, again=1.1))
    with pytest.raises(KeyboardInterrupt):
        train('a')
    assert not Path('a/iter_6.pth').exists()


@pytest.mark.unit
def test_an_echo_within_a_second_is_no_second_signal(train):
    Path('c.py').write_text(kicked('SIGINT', 6, again=0.01))
    assert train('a') == 130


@pytest.mark.unit
def test_other_threads_cannot_receive_signals(monkeypatch):
    hook, lines = SignalHook(), []
    runner = SimpleNamespace(
        logger=SimpleNamespace(info=lines.append), val_loop=None,
        train_loop=SimpleNamespace(dataloader=None))
    thread = threading.Thread(target=hook.before_train, args=(runner, ))
    thread.start()
    thread.join()
    assert 'not in the main thread' in lines[0]
    hook.release()


@pytest.mark.unit
@pytest.mark.parametrize('names', [['SIGTREM'], ['SIGKILL'], ['TERM']])
def test_wrong_names(names):
    with pytest.raises(ConfigError, match=r'SIGTERM|did you mean'):
        SignalHook(requeue=names)


def _sleep(ready):
    ready.set()
    for _ in range(3000):
        # Python acts on a signal between two calls: one that comes right
        # before a long sleep would wait for its end
        time.sleep(0.01)


@pytest.mark.unit
def test_a_forked_process_does_not_inherit_the_effect(monkeypatch):
    hook = SignalHook()
    runner = SimpleNamespace(val_loop=None, train_loop=SimpleNamespace(
        dataloader=None))
    hook.before_train(runner)
    try:
        context = multiprocessing.get_context('fork')
        ready = context.Event()
        child = context.Process(target=_sleep, args=(ready, ))
        child.start()
        assert ready.wait(20)
        child.terminate()
        child.join(20)
        assert child.exitcode == -signal.SIGTERM
        assert hook.asked == 0
    finally:
        hook.release()


def start(*arguments, **kwargs):
    """A training as a process of its own, leader of a group."""
    path = os.pathsep.join([str(ROOT), str(ROOT / 'tests')])
    environ = {key: value for key, value in os.environ.items()
               if key not in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'PORT')}
    return subprocess.Popen(
        list(map(str, arguments)), text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={
            **environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1',
            'PYTHON': sys.executable}, **kwargs)


def wait_for(path, number, process):
    """Waits until a file says at least this number."""
    for _ in range(2400):
        if path.is_file() and int(path.read_text() or 0) >= number:
            return
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    raise AssertionError(f'{path} did not reach {number}')


@pytest.mark.e2e
def test_a_signal_from_outside_with_loader_workers(train, tmp_path):
    Path('c.py').write_text(
        CONFIG + '\ncustom_hooks = [dict(type="Crawl", seconds=0.15)]')
    process = start(sys.executable, ROOT / 'tools' / 'train.py', 'c.py',
                    '--work-dir', 'part', '--cfg-options',
                    'train_dataloader.num_workers=2', cwd=tmp_path)
    wait_for(tmp_path / 'part' / 'at_0', 5, process)
    os.killpg(process.pid, signal.SIGTERM)  # workers, too
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    assert 'Traceback' not in output
    Path('c.py').write_text(CONFIG)
    assert train('part', resume=True) == 0
    assert train('whole') == 0
    assert equal('whole/epoch_6.pth', 'part/epoch_6.pth')


@pytest.mark.dist
def test_one_rank_gets_it_and_both_stop(train, tmp_path):
    Path('c.py').write_text(
        CONFIG + '\ncustom_hooks = [dict(type="Crawl", seconds=0.0), dict('
        'type="Kick", name="SIGUSR1", at=3, rank=1)]')
    process = start('bash', ROOT / 'tools' / 'dist_train.sh', 'c.py', '2',
                    '--work-dir', 'part', cwd=tmp_path)
    output, _ = process.communicate(timeout=120)
    # torchrun's own code; its table has those of the processes
    assert process.returncode == 1, output
    assert output.count('SIGUSR1: the run saves and stops') == 1
    assert output.count('mimplug train: stopped by a signal') == 1
    assert 'exitcode  : 75' in output
    ends = [(tmp_path / 'part' / f'at_{rank}').read_text()
            for rank in (0, 1)]
    assert ends[0] == ends[1]
    saved = torch.load(f'part/iter_{ends[0]}.pth', weights_only=True)
    assert len(saved['rng']['ranks']) == 2
    # known to all at the end of the step after
    assert int(ends[0]) in (3, 4)


@pytest.mark.full
@pytest.mark.dist
def test_both_processes_resume_to_the_same_run(train, tmp_path):
    def both(work, text, *options):
        Path('c.py').write_text(text)
        process = start('bash', ROOT / 'tools' / 'dist_train.sh', 'c.py',
                        '2', '--work-dir', work, *options, cwd=tmp_path)
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    code, output = both('whole', CONFIG)
    assert code == 0, output
    assert both('part', kicked('SIGTERM', 3))[0] == 1
    code, output = both('part', CONFIG, '--resume')
    assert code == 0, output
    assert equal('whole/epoch_6.pth', 'part/epoch_6.pth')
