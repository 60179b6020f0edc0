"""``slurm_train.sh`` on a real SLURM of one node, started for the test."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import CONFIG
from toy_signals import CONFIG as LONG
from toy_signals import equal

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'srun', 'sinfo')
CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""

pytestmark = [pytest.mark.full, pytest.mark.dist]


def free_ports(number):
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(('127.0.0.1', 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def stop(pid_file):
    """Ends the daemon that wrote this file."""
    if pid_file.is_file():
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
        for _ in range(50):
            if not Path(f'/proc/{pid}').exists():
                return
            time.sleep(0.1)


@pytest.fixture
def slurm(tmp_path_factory):
    """Environment in which srun talks to a cluster of one idle node."""
    if os.getuid() != 0 or not all(map(shutil.which, PROGRAMS)):
        pytest.skip('needs root and `apt-get install --no-install-recommends '
                    'slurm-wlm munge`')
    folder = tmp_path_factory.mktemp('slurm')
    for name in ('state', 'spool'):
        (folder / name).mkdir()
    key = folder / 'munge.key'
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    host = socket.gethostname().split('.')[0]
    (folder / 'slurm.conf').write_text(CONF.format(
        folder=folder, host=host, ports=free_ports(2)))
    environ = {**os.environ, 'SLURM_CONF': str(folder / 'slurm.conf')}
    try:
        subprocess.run([
            'munged', '--force', f'--key-file={key}',
            f'--socket={folder}/munge.socket',
            f'--pid-file={folder}/munged.pid',
            f'--log-file={folder}/munged.log',
            f'--seed-file={folder}/munged.seed'], check=True)
        subprocess.run(['slurmctld'], env=environ, check=True)
        time.sleep(2)
        subprocess.run(['slurmd'], env=environ, check=True)
        for _ in range(60):
            state = subprocess.run(['sinfo', '-h', '-o', '%t'], env=environ,
                                   capture_output=True, text=True).stdout
            if state.strip() == 'idle':
                break
            time.sleep(0.5)
        else:
            pytest.fail(f'the node never became idle; sinfo says {state!r}')
        yield environ
    finally:
        for name in ('slurmd', 'slurmctld', 'munged'):
            stop(folder / f'{name}.pid')


def launch(slurm, config, work, *arguments, **environ):
    """Command and environment of the script for two tasks."""
    command = ['bash', str(ROOT / 'tools' / 'slurm_train.sh'), 'debug',
               'job', str(config), str(work), *arguments]
    return command, {
        **slurm, 'GPUS': '2', 'GRES': '', 'CPUS_PER_TASK': '1',
        'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT / 'tests'),
        'OMP_NUM_THREADS': '1', **environ}


def test_two_tasks_train_together(slurm, tmp_path):
    config = tmp_path / 'toy_config.py'
    config.write_text(CONFIG)
    command, environ = launch(
        slurm, config, tmp_path / 'out', '--auto-scale-lr')
    result = subprocess.run(command, env=environ, capture_output=True,
                            text=True, timeout=250)
    assert result.returncode == 0, result.stderr
    text = result.stdout + result.stderr
    assert 'world: 2.0' in text
    assert '2 process(es) x batch 2' in text
    assert (tmp_path / 'out' / 'epoch_1.pth').is_file()


def ask(slurm, *command):
    """Output of a SLURM command."""
    return subprocess.run(command, env=slurm, capture_output=True, text=True,
                          check=True).stdout.strip()


def wait_until(condition, what, seconds=150):
    """Polls; fails with ``what``."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def preempt(slurm, work):
    """Signals the job as SLURM does before its end, once it is training."""
    for rank in (0, 1):
        place = work / f'at_{rank}'
        wait_until(lambda place=place: place.is_file() and int(
            place.read_text() or 0) >= 3, f'{place} never came')
    job, = set(ask(slurm, 'squeue', '-h', '-o', '%i').split())
    ask(slurm, 'scancel', '--signal=USR1', job)
    return job


def undisturbed(slurm, tmp_path):
    """The last checkpoint of a run that nobody interrupts."""
    config = tmp_path / 'whole.py'
    config.write_text(LONG)
    command, environ = launch(slurm, config, tmp_path / 'whole')
    subprocess.run(command, env=environ, check=True, timeout=200)
    return tmp_path / 'whole' / 'epoch_6.pth'


SLOW = LONG + """
custom_hooks = [dict(type='Crawl', seconds=0.5)]
train_dataloader['num_workers'] = 1
"""


def test_a_preempted_run_is_started_again(slurm, tmp_path):
    config, work = tmp_path / 'slow.py', tmp_path / 'part'
    config.write_text(SLOW)
    command, environ = launch(slurm, config, work)
    process = subprocess.Popen(command, env=environ, text=True,
                               stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
    preempt(slurm, work)
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    assert output.count('mimplug train: stopped by a signal') == 1
    assert 'Start number 2' in output
    assert 'Resume' in output or 'resumed epoch' in output
    assert equal(work / 'epoch_6.pth', undisturbed(slurm, tmp_path))


def test_a_preempted_batch_job_goes_back_into_the_queue(slurm, tmp_path):
    config, work = tmp_path / 'slow.py', tmp_path / 'part'
    log = tmp_path / 'job.log'
    config.write_text(SLOW)
    command, environ = launch(slurm, config, work)
    job = ask(environ, 'sbatch', '--parsable', '--requeue', '-n2',
              '--open-mode=append', f'--output={log}', '--wrap',
              ' '.join(command))
    assert preempt(slurm, work) == job
    wait_until(lambda: 'goes back into the queue' in log.read_text(),
               'not requeued')
    wait_until(lambda: not ask(slurm, 'squeue', '-h'), 'never ended', 250)
    state = ask(slurm, 'scontrol', 'show', 'job', job)
    assert 'JobState=COMPLETED' in state, log.read_text()
    assert 'Restarts=1' in state
    assert log.read_text().count('mimplug train: stopped by a signal') == 1
    assert equal(work / 'epoch_6.pth', undisturbed(slurm, tmp_path))
