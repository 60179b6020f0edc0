"""From the command line to a config: reading, overriding, scaling."""
from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config, DictAction

from mimplug.errors import ConfigError, check_choice
from mimplug.utils import allow_config_inheritance

AMP_DTYPES = ('bfloat16', 'float16')
LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
BASE_BATCH_SIZE = 256


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every command around a config understands."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', metavar='DIR',
        help='where logs and files go; default: the work_dir of the config, '
        'or work_dirs/<name of the config>')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE',
        help='change settings: a.b=1 a.c=x,y a.d="[(1,2),(3,4)]"')
    parser.add_argument(
        '--launcher', choices=LAUNCHERS, default='none',
        help='how the processes of this run were started')
    # Given by launchers older than torchrun; the environment says it too.
    parser.add_argument('--local_rank', '--local-rank', type=int,
                        default=None, help=argparse.SUPPRESS)


def known_configs() -> dict[str, Path]:
    """Returns name → file of every config near here or in the package."""
    package = Path(__file__).resolve().parent.parent
    found: dict[str, Path] = {}
    for root in (package / '.mim' / 'configs', Path('configs')):
        for path in root.rglob('*.py'):
            if '_base_' not in path.parts:
                found[path.stem] = path
    return found


def load_config(args: argparse.Namespace) -> Config:
    """Reads the config and applies what the shared arguments say.

    Args:
        args (Namespace): With ``config``, ``cfg_options``, ``work_dir`` and
            ``launcher``.

    Returns:
        Config: With ``work_dir`` and ``launcher`` set.

    Raises:
        ConfigError: No such file (names the nearest config), or one of its
            bases is missing.
    """
    allow_config_inheritance()
    path = Path(args.config)
    if not path.is_file():
        raise ConfigError(_missing(path))
    try:
        cfg = Config.fromfile(str(path))
    except FileNotFoundError as error:
        raise ConfigError(f'{path}: {error}') from error
    forget_scope(cfg._cfg_dict)
    if args.cfg_options:
        cfg.merge_from_dict(args.cfg_options)
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / path.stem)
    cfg.launcher = args.launcher
    return cfg


def forget_scope(part: Any) -> None:
    """Takes the scope ``mimplug`` off what came from ``mimplug::…``.

    MMEngine marks inherited dicts with the name of the package, and would then
    look for MMPretrain's bare names in our registries. Our configs are written
    for the default scope ``mmpretrain``, which they set.

    Args:
        part (Any): A config or a part of one; changed in place.
    """
    if isinstance(part, dict):
        if part.get('_scope_') == 'mimplug':
            del part['_scope_']
        part = list(part.values())
    if isinstance(part, (list, tuple)):
        for entry in part:
            forget_scope(entry)


def _missing(path: Path) -> str:
    """The message for a config that does not exist."""
    configs = known_configs()
    near = difflib.get_close_matches(path.stem, configs, n=1, cutoff=0.4)
    hint = f'; did you mean {configs[near[0]]}?' if near else ''
    return f'config {path}: no such file{hint}'


def set_amp(cfg: Config, dtype: str) -> None:
    """Makes the optimiser wrapper run its forward passes in ``dtype``.

    Our wrapper keeps its type and gets a ``dtype``; MMEngine's plain one is
    exchanged for its AMP sibling, as every OpenMMLab tool does.

    Args:
        cfg (Config): Changed in place.
        dtype (str): ``'bfloat16'`` or ``'float16'``.

    Raises:
        ConfigError: The wrapper is neither ours nor MMEngine's.
    """
    check_choice('--amp', dtype, AMP_DTYPES)
    wrapper = _optim_wrapper(cfg)
    ours = str(wrapper.get('constructor', '')).startswith('mimplug.')
    name = str(wrapper.get(
        'type', 'mimplug.OptimWrapper' if ours else 'OptimWrapper'))
    stock = name.removeprefix('mmengine.')
    if stock in ('OptimWrapper', 'AmpOptimWrapper'):
        wrapper['type'] = 'AmpOptimWrapper'
    elif name != 'mimplug.OptimWrapper':
        raise ConfigError(
            f'--amp: optim_wrapper.type={name!r} is not known to take a '
            'dtype; allowed: mimplug.OptimWrapper, OptimWrapper, '
            'AmpOptimWrapper')
    wrapper['dtype'] = dtype


def scale_lr(cfg: Config, world_size: int) -> str:
    """Scales the learning rate to the batch of one optimiser step.

    The rule is :func:`mimplug.engine.scaled_lr`. MMEngine's own scaling
    leaves the accumulation out, so it is switched off here. The schedules
    start from the optimiser's learning rate and follow.

    Args:
        cfg (Config): Changed in place: ``optim_wrapper.optimizer.lr``, and
            ``auto_scale_lr`` records the factor.
        world_size (int): Number of processes.

    Returns:
        str: What was done, for the log.

    Raises:
        ConfigError: There is no single learning rate, or it is scaled
            already.
    """
    from mimplug.engine import scaled_lr

    scaling = cfg.get('auto_scale_lr') or {}
    if scaling.get('factor') is not None:
        raise ConfigError(
            f'--auto-scale-lr: this config is scaled by {scaling["factor"]} '
            'already; use the original one')
    wrapper = _optim_wrapper(cfg)
    optimizer = wrapper.get('optimizer') or {}
    if optimizer.get('lr') is None:
        raise ConfigError(
            '--auto-scale-lr needs one number in optim_wrapper.optimizer.lr')
    base = scaling.get('base_batch_size') or BASE_BATCH_SIZE
    batch = cfg.train_dataloader.batch_size
    accumulation = wrapper.get('accumulative_counts', 1)
    before = optimizer['lr']
    optimizer['lr'] = scaled_lr(
        before, batch, world_size=world_size, accumulation=accumulation,
        base_batch_size=base)
    cfg.auto_scale_lr = dict(
        base_batch_size=base, enable=False, factor=optimizer['lr'] / before)
    return (f'lr {before:g} -> {optimizer["lr"]:g}: {world_size} '
            f'process(es) x batch {batch} x accumulation {accumulation}, '
            f'base batch {base}')


def _optim_wrapper(cfg: Config) -> Any:
    """The section of the optimiser wrapper, or an error."""
    wrapper = cfg.get('optim_wrapper')
    if wrapper is None:
        raise ConfigError('the config has no optim_wrapper')
    return wrapper
