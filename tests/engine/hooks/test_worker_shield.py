"""Workers of a loader outlive signals that are not meant for them."""
from __future__ import annotations

import multiprocessing
import pickle
import signal
import subprocess

import pytest

from mimplug.engine.hooks.signals import WorkerShield


def _work(shield, inbox, outbox):
    shield(3)
    outbox.put('ready')
    while inbox.get() == 'more':
        outbox.put('done')


@pytest.fixture
def worker():
    """A shielded process that answers, and a call that waits for it."""
    shield = WorkerShield((signal.SIGTERM, signal.SIGUSR1, signal.SIGINT),
                          None)
    context = multiprocessing.get_context('fork')
    inbox, outbox = context.Queue(), context.Queue()
    process = context.Process(target=_work, args=(
        pickle.loads(pickle.dumps(shield)), inbox, outbox))
    process.start()
    assert outbox.get(timeout=20) == 'ready'

    def answers():
        inbox.put('more')
        return outbox.get(timeout=20) == 'done'

    yield process, answers
    process.kill()


def send(process, number):
    """A signal of another process than the parent of this one."""
    subprocess.run(['sh', '-c', f'kill -{int(number)} {process.pid}'],
                   check=True)


@pytest.mark.unit
def test_a_worker_survives_what_goes_to_all_processes(worker):
    process, answers = worker
    for number in (signal.SIGUSR1, signal.SIGINT, signal.SIGINT,
                   signal.SIGTERM):
        send(process, number)
        assert answers()
    send(process, signal.SIGTERM)  # the second one is let through
    process.join(20)
    assert process.exitcode == -signal.SIGTERM


@pytest.mark.unit
def test_a_worker_ends_when_its_parent_says_so(worker):
    """Python does, once, when a program is over, and waits for the worker."""
    process, _ = worker
    process.terminate()
    process.join(20)
    assert process.exitcode == 0


@pytest.mark.unit
def test_the_former_start_of_workers_is_kept():
    seen = []
    WorkerShield((), seen.append)(5)
    assert seen == [5]
