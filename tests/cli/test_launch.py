"""What the launchers leave in the environment becomes torch's variables."""
from __future__ import annotations

import pytest

from mimplug.cli import _launch
from mimplug.cli._launch import complete_environment, world_size
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit

SLURM = dict(SLURM_PROCID='3', SLURM_NTASKS='4', SLURM_LOCALID='1',
             SLURM_NODELIST='node7', SLURM_JOB_ID='12', SLURM_STEP_ID='1')


def test_world_size():
    assert world_size('none', {}) == 1
    assert world_size('pytorch', {'WORLD_SIZE': '6'}) == 6
    assert world_size('slurm', SLURM) == 4


def test_wrong_launcher_names_the_variable():
    with pytest.raises(ConfigError, match='SLURM_NTASKS is not set'):
        world_size('slurm', {'WORLD_SIZE': '6'})


def test_slurm():
    environ = dict(SLURM)
    complete_environment('slurm', environ)
    assert {key: environ[key] for key in (
        'RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR')} == dict(
            RANK='3', WORLD_SIZE='4', LOCAL_RANK='1', MASTER_ADDR='node7')


def test_slurm_port_depends_on_the_job_only():
    ports = []
    for rank, job in (('0', '12'), ('3', '12'), ('0', '13')):
        environ = dict(SLURM, SLURM_PROCID=rank, SLURM_JOB_ID=job)
        complete_environment('slurm', environ)
        ports.append(int(environ['MASTER_PORT']))
    assert ports[0] == ports[1] != ports[2]
    assert all(1024 < port < 32768 for port in ports)


def test_given_values_stay():
    environ = dict(SLURM, MASTER_PORT='1234', MASTER_ADDR='here')
    complete_environment('slurm', environ)
    assert (environ['MASTER_PORT'], environ['MASTER_ADDR']) == ('1234', 'here')


def test_node_lists_are_expanded_by_slurm(tmp_path, monkeypatch):
    tool = tmp_path / 'scontrol'
    tool.write_text('#!/bin/sh\nprintf "gpu3\\ngpu4\\n"\n')
    tool.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    environ = dict(SLURM, SLURM_NODELIST='gpu[3-4]')
    complete_environment('slurm', environ)
    assert environ['MASTER_ADDR'] == 'gpu3'


def test_node_list_without_scontrol(monkeypatch):
    monkeypatch.setattr(_launch.shutil, 'which', lambda name: None)
    with pytest.raises(ConfigError, match='MASTER_ADDR'):
        complete_environment('slurm', dict(SLURM, SLURM_NODELIST='a[1-2]'))


def test_mpi_needs_an_address():
    environ = dict(OMPI_COMM_WORLD_RANK='0', OMPI_COMM_WORLD_SIZE='2',
                   OMPI_COMM_WORLD_LOCAL_RANK='0')
    with pytest.raises(ConfigError, match='MASTER_ADDR'):
        complete_environment('mpi', environ)
    environ['MASTER_ADDR'] = 'host0'
    complete_environment('mpi', environ)
    assert environ['MASTER_PORT'] == '29500'
