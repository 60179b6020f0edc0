"""slurm_train.sh starts a training again that a signal stopped."""
from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
pytestmark = pytest.mark.unit

# Notes each call and ends with the next of the given codes.
PROGRAM = """#!/usr/bin/env bash
echo "$(basename "$0") $*" >> calls
read -r code rest < codes_$(basename "$0") || true
echo "$rest" > codes_$(basename "$0")
exit "${code:-0}"
"""


@pytest.fixture
def train(tmp_path):
    """Runs the script with srun and scontrol that end as they are told."""
    for name in ('srun', 'scontrol'):
        (tmp_path / name).write_text(PROGRAM)
        (tmp_path / name).chmod(0o755)

    def run(codes, *arguments, scontrol='0', **environ):
        (tmp_path / 'codes_srun').write_text(f'{codes}\n')
        (tmp_path / 'codes_scontrol').write_text(f'{scontrol}\n')
        (tmp_path / 'calls').write_text('')
        clean = {key: value for key, value in os.environ.items()
                 if not key.startswith('SLURM_')
                 and key not in ('MAX_REQUEUE', 'ENVIRONMENT', 'SRUN_ARGS')}
        result = subprocess.run(
            ['bash', str(TOOLS / 'slurm_train.sh'), 'part', 'job', 'c.py',
             'out', *arguments], cwd=tmp_path, text=True, capture_output=True,
            env={**clean, 'PATH': f'{tmp_path}:{clean["PATH"]}', **environ})
        calls = (tmp_path / 'calls').read_text().splitlines()
        return result.returncode, calls, result.stderr

    return run


@pytest.mark.parametrize('code', [0, 1, 2, 130, 137])
def test_other_codes_are_final(train, code):
    returned, calls, _ = train(str(code), '--seed', '1')
    assert returned == code
    call, = calls
    assert call.endswith('--launcher=slurm --seed 1')


def test_the_same_command_with_resume(train):
    code, calls, error = train('75 75 3', '--resume', 'a.pth')
    assert code == 3
    assert len(calls) == 3
    assert calls[0].endswith('--launcher=slurm --resume a.pth')
    assert calls[1] == calls[2] == f'{calls[0]} --resume'
    assert 'Start number 3' in error


def test_a_limit(train):
    code, calls, error = train('75 75 75 75', MAX_REQUEUE='2')
    assert (code, len(calls)) == (75, 3)
    assert 'MAX_REQUEUE=2' in error
    assert len(train('75', MAX_REQUEUE='0')[1]) == 1


BATCH = dict(ENVIRONMENT='BATCH', SLURM_JOB_ID='17')


def test_a_batch_job_goes_back_into_the_queue(train):
    code, calls, _ = train('75', **BATCH)
    assert code == 0
    assert [call.split()[0] for call in calls] == ['srun', 'scontrol']
    assert calls[1] == 'scontrol requeue 17'
    assert not calls[0].endswith('--resume')
    _, calls, _ = train('0', SLURM_RESTART_COUNT='1', **BATCH)
    assert calls[0].endswith('--resume')


def test_a_batch_job_that_may_not(train):
    code, calls, _ = train('75', scontrol='1', **BATCH)
    assert (code, len(calls)) == (75, 2)
    code, calls, _ = train('75', SLURM_RESTART_COUNT='5', MAX_REQUEUE='5',
                           **BATCH)
    assert (code, len(calls)) == (75, 1)
