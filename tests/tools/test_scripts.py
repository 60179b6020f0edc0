"""The launch scripts pass on what OpenMMLab users expect."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'
pytestmark = pytest.mark.unit

# Prints each argument on a line, and the environment that matters.
ECHO = '#!/usr/bin/env bash\nprintf "%s\\n" "$0" "$@"\n'


@pytest.fixture
def shell(tmp_path):
    """Runs a script with srun and python replaced by an echo."""
    for name in ('srun', 'python'):
        path = tmp_path / name
        path.write_text(ECHO)
        path.chmod(0o755)

    def run(script, *arguments, **environ):
        clean = {key: value for key, value in os.environ.items()
                 if key not in ('PORT', 'NNODES', 'PYTHON', 'GPUS')}
        result = subprocess.run(
            ['bash', str(TOOLS / script), *arguments], text=True,
            capture_output=True,
            env={**clean, 'PATH': f'{tmp_path}:{clean["PATH"]}', **environ})
        return result.returncode, result.stdout.splitlines()

    return run


def test_slurm_train(shell):
    code, words = shell('slurm_train.sh', 'part', 'job', 'c.py', 'out dir',
                        '--amp', 'float16', GPUS='16',
                        SRUN_ARGS='--quotatype=auto --exclude=n1')
    assert code == 0
    assert words[1:] == [
        '-p', 'part', '--job-name=job', '--ntasks=16', '--ntasks-per-node=8',
        '--cpus-per-task=5', '--kill-on-bad-exit=1', '--gres=gpu:8',
        '--quotatype=auto', '--exclude=n1', 'python', '-u',
        str(TOOLS / 'train.py'), 'c.py', '--work-dir=out dir',
        '--launcher=slurm', '--amp', 'float16'
    ]


def test_slurm_never_asks_for_more_gpus_than_tasks(shell):
    _, words = shell('slurm_train.sh', 'p', 'j', 'c.py', 'w', GPUS='2')
    assert '--gres=gpu:2' in words
    assert '--ntasks-per-node=2' in words


def test_slurm_without_gpus(shell):
    _, words = shell('slurm_test.sh', 'p', 'j', 'c.py', 'k.pth', GPUS='2',
                     GRES='', CPUS_PER_TASK='1')
    assert not [word for word in words if word.startswith('--gres')]
    assert '--cpus-per-task=1' in words
    assert words[-3:] == ['c.py', 'k.pth', '--launcher=slurm']


def test_dist_train_one_machine(shell):
    code, words = shell('dist_train.sh', 'c.py', '4', '--resume')
    assert code == 0
    assert words[1:] == [
        '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=4',
        str(TOOLS / 'train.py'), 'c.py', '--launcher', 'pytorch', '--resume'
    ]


def test_dist_test_two_machines(shell):
    _, words = shell('dist_test.sh', 'c.py', 'k.pth', '8', '--out', 'm.json',
                     NNODES='2', NODE_RANK='1', MASTER_ADDR='node0',
                     PORT='29501')
    assert words[3:] == [
        '--nnodes=2', '--node_rank=1', '--master_addr=node0',
        '--master_port=29501', '--nproc_per_node=8', str(TOOLS / 'test.py'),
        'c.py', 'k.pth', '--launcher', 'pytorch', '--out', 'm.json'
    ]


@pytest.mark.parametrize('script', [
    'dist_train.sh', 'dist_test.sh', 'slurm_train.sh', 'slurm_test.sh'])
def test_too_few_arguments(shell, script):
    code, words = shell(script, 'only-one')
    assert (code, words) == (2, [])


def test_scripts_take_another_python(shell, tmp_path):
    other = tmp_path / 'mypython'
    other.write_text(ECHO)
    other.chmod(0o755)
    _, words = shell('dist_train.sh', 'c.py', '1', PYTHON=str(other))
    assert words[0] == str(other)
    assert sys.executable not in words


@pytest.mark.e2e
@pytest.mark.dist
@pytest.mark.full
def test_dist_train_trains_on_cpu(tmp_path):
    quickstart = (ROOT / 'configs/quickstart'
                  / 'attmask_vit-quickstart-p8_fashion-mnist.py')
    result = subprocess.run([
        'bash', TOOLS / 'dist_train.sh', quickstart, '2', '--no-validate',
        '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=2', 'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'train_dataloader.dataset.dataset.indices=11'],
        text=True, capture_output=True, check=False, env={
            **os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1',
            'CUDA_VISIBLE_DEVICES': ''})
    assert result.returncode == 0, result.stderr[-3000:]
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    position = saved['meta']['position']
    # 11 images are two batches of two on each of two processes
    assert (position['epoch'], position['iter']) == (1, 2)
    assert (position['samples'], position['global_batch']) == (8, 4)
