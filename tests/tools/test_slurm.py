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
AuthInfo=socket={folder}/munge.socket
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


def test_two_tasks_train_together(slurm, tmp_path):
    config = tmp_path / 'toy_config.py'
    config.write_text(CONFIG)
    result = subprocess.run(
        ['bash', str(ROOT / 'tools' / 'slurm_train.sh'), 'debug', 'job',
         str(config), str(tmp_path / 'out'), '--auto-scale-lr'],
        env={**slurm, 'GPUS': '2', 'GRES': '', 'CPUS_PER_TASK': '1',
             'PYTHON': sys.executable, 'PYTHONPATH': str(ROOT / 'tests'),
             'OMP_NUM_THREADS': '1'},
        capture_output=True, text=True, timeout=250)
    assert result.returncode == 0, result.stderr
    text = result.stdout + result.stderr
    assert 'world: 2.0' in text
    assert '2 process(es) x batch 2' in text
    assert (tmp_path / 'out' / 'epoch_1.pth').is_file()
