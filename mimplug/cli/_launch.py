"""Processes of a run: how many, and the process group of CPU machines.

MMEngine starts the group by itself where an accelerator is, but calls
``torch.cuda.set_device`` on the way and so cannot run on processors.
"""
from __future__ import annotations

import gc
import logging
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import timedelta

import torch.distributed as torch_dist
from mmengine import dist
from mmengine.config import Config
from mmengine.device import get_device

from mimplug.errors import ConfigError, Interrupted, check_choice

# What each launcher calls rank, world size and local rank.
VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE',
            'OMPI_COMM_WORLD_LOCAL_RANK'),
}
FIRST_PORT, NUM_PORTS = 20000, 12000
DEFAULT_TIMEOUT = 1800


def world_size(launcher: str,
               environ: Mapping[str, str] = os.environ) -> int:
    """Returns the number of processes before the group exists.

    Args:
        launcher (str): ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        environ (Mapping): Where the launcher left its variables.

    Returns:
        int: 1 for ``none``.

    Raises:
        ConfigError: The process was not started by this launcher.
    """
    if launcher == 'none':
        return 1
    return _number(launcher, 1, environ)


def prepare_launch(cfg: Config) -> None:
    """Makes the launcher's variables complete; on CPU joins the group.

    Args:
        cfg (Config): Read: ``launcher``, ``env_cfg.dist_cfg``. On a machine
            without accelerator the backend becomes gloo and the model
            wrapper gets no device.

    Raises:
        ConfigError: The process was not started by this launcher, or
            ``sync_bn`` cannot be had.
    """
    launcher = cfg.launcher
    if launcher == 'none':
        return
    complete_environment(launcher, os.environ)
    check_sync_bn(cfg, get_device())
    if get_device() != 'cpu':
        return
    env_cfg = cfg.setdefault('env_cfg', {})
    dist_cfg = env_cfg.setdefault('dist_cfg', {})
    dist_cfg['backend'] = 'gloo'
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel', broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False))
    cfg.model_wrapper_cfg = dict(wrapper, device_ids=None)
    if not torch_dist.is_initialized():
        seconds = dist_cfg.get('timeout', DEFAULT_TIMEOUT)
        torch_dist.init_process_group(
            'gloo', timeout=timedelta(seconds=seconds))


def check_sync_bn(cfg: Config, device: str) -> None:
    """Refuses batch norms over all processes where they cannot run.

    Args:
        cfg (Config): Read: ``sync_bn``, and that of ``strategy``.
        device (str): Kind of device of this machine.

    Raises:
        ConfigError: Unknown kind of layer, processors, on which the first
            step would fail, or norms that see parts of a batch.
    """
    for place in (cfg, cfg.get('strategy') or {}):
        kind = place.get('sync_bn')
        check_choice('sync_bn', kind, [None, 'torch', 'mmcv'])
        if kind is not None and device == 'cpu':
            raise ConfigError(
                f'sync_bn={kind!r}: synchronised batch norms run on GPUs '
                'only; for processors set sync_bn=None, which normalises '
                'each process by its own batch')
        parts = (cfg.get('model') or {}).get('split_bn')
        if kind is not None and parts:
            raise ConfigError(
                f'sync_bn={kind!r}: batch norms over all processes would '
                f'take the place of those over parts, split_bn={parts}; set '
                'one of the two to None')


def complete_environment(launcher: str,
                         environ: MutableMapping[str, str]) -> None:
    """Sets torch's five variables from those of the launcher.

    A variable that is set already stays. The port of a SLURM job follows
    from its id, so that two jobs on one node do not meet.

    Args:
        launcher (str): ``pytorch``, ``slurm`` or ``mpi``.
        environ (MutableMapping): Changed in place.

    Raises:
        ConfigError: The process was not started by this launcher.
    """
    names = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK')
    for position, name in enumerate(names):
        value = _number(launcher, position, environ)
        environ.setdefault(name, str(value))
    if launcher == 'slurm':
        job = int(environ.get('SLURM_JOB_ID', '0'))
        step = int(environ.get('SLURM_STEP_ID', '0'))
        port = FIRST_PORT + (job * 7 + step) % NUM_PORTS
        environ.setdefault('MASTER_PORT', str(port))
        if 'MASTER_ADDR' not in environ:
            environ['MASTER_ADDR'] = _first_host(
                environ.get('SLURM_NODELIST', '127.0.0.1'))
    elif launcher == 'mpi':
        environ.setdefault('MASTER_PORT', '29500')
        if 'MASTER_ADDR' not in environ:
            raise ConfigError(
                '--launcher mpi: set MASTER_ADDR to the first host')


def leave_group(launcher: str) -> None:
    """Takes the process group down at the end of a run.

    Its threads would otherwise be met running by the end of the process,
    which can turn a success into an abort (exit code 134). They end with the
    last that refers to the group, and a distributed model does: the caller
    has to let go of the runner first.

    Args:
        launcher (str): ``none`` has no group of its own.
    """
    if launcher != 'none' and torch_dist.is_initialized():
        gc.collect()  # a runner and its loops refer to each other
        torch_dist.destroy_process_group()


def leave_together(stop: Interrupted) -> None:
    """Ends the processes of a distributed run at the same moment.

    A launcher that sees one process end with an error kills the others; the
    job's exit code would then be that of a kill. Alone it does nothing.

    Args:
        stop (Interrupted): Why, and the exit code.
    """
    if dist.get_world_size() == 1:
        return
    # ends loader workers, which the frames of the loop hold
    traceback.clear_frames(stop.__traceback__)
    if str(stop):
        print(f'mimplug train: {stop}', file=sys.stderr)  # noqa: T201
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    dist.barrier()
    # Python's own way out takes a different time in every process
    os._exit(stop.exit_code)


def _number(launcher: str, position: int,
            environ: Mapping[str, str]) -> int:
    """One of rank, world size and local rank as the launcher says it."""
    name = VARIABLES[launcher][position]
    try:
        return int(environ[name])
    except KeyError as error:
        raise ConfigError(
            f'--launcher {launcher}: {name} is not set; was this process '
            f'started by it? See tools/dist_train.sh and '
            f'tools/slurm_train.sh') from error


def _first_host(nodes: str) -> str:
    """The first name of a SLURM node list such as ``gpu[3-5],cpu1``."""
    if not set(nodes) & set('[,'):
        return nodes
    if shutil.which('scontrol') is None:
        raise ConfigError(
            f'SLURM_NODELIST={nodes}: scontrol is not on the PATH to expand '
            'it; set MASTER_ADDR to the first host')
    output = subprocess.run(
        ['scontrol', 'show', 'hostnames', nodes], check=True,
        capture_output=True, text=True).stdout
    return output.split()[0]
