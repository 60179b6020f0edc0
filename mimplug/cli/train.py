"""Pre-train or fine-tune from a config.

Examples:
    mimplug train configs/quickstart/CONFIG.py
    mimplug train CONFIG.py --amp --cfg-options train_dataloader.batch_size=64
    mimplug train CONFIG.py --resume
"""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mimplug.errors import Interrupted

from ._config import AMP_DTYPES, add_shared_arguments

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_shared_arguments(parser)
    parser.add_argument(
        '--resume', nargs='?', const='auto', metavar='PATH',
        help='go on from this checkpoint; without PATH from the latest one '
        'in the work directory, if there is one; its seed is kept')
    parser.add_argument(
        '--amp', nargs='?', const='bfloat16', choices=AMP_DTYPES,
        help='mixed precision; without a value bfloat16')
    parser.add_argument(
        '--no-validate', action='store_true',
        help='no evaluation while training')
    parser.add_argument(
        '--auto-scale-lr', action='store_true',
        help='scale the learning rate to processes x batch x accumulation')
    parser.add_argument('--seed', type=int, help='seed of the run')


def run(args: argparse.Namespace) -> int:
    """Trains to the end.

    Args:
        args (Namespace): As parsed.

    Returns:
        int: 0.

    Raises:
        ConfigError: A setting is wrong.
        CheckpointError: The file to start from cannot be read or fits
            nothing.
        Interrupted: A signal stopped the run, which is saved.
    """
    from mimplug.engine import SignalHook

    from ._build import build_runner, clear_errors
    from ._checkpoint import first_checkpoint, keep_seed, start_from
    from ._config import load_config
    from ._launch import leave_group, leave_together, prepare_launch

    cfg = load_config(args)
    notes = apply_arguments(cfg, args)
    source = first_checkpoint(cfg)
    if cfg.get('resume'):
        notes += (keep_seed(cfg, source, asked_seed(args)) if source else
                  [f'Nothing to resume in {cfg.work_dir}: a new run'])
    prepare_launch(cfg)
    runner = build_runner(cfg)
    start_from(runner, source)
    for note in notes:
        runner.logger.info(note)
    try:
        with clear_errors():
            runner.train()
    except Interrupted as stop:
        runner.visualizer.close()
        leave_together(stop)
        raise
    finally:
        for hook in runner.hooks:
            if isinstance(hook, SignalHook):
                hook.release()
    del runner
    leave_group(cfg.launcher)
    return 0


def asked_seed(args: argparse.Namespace) -> int | None:
    """Returns the seed that the command line names, or None."""
    if args.seed is not None:
        return int(args.seed)
    seed: int | None = (args.cfg_options or {}).get('randomness.seed')
    return seed


def apply_arguments(cfg: Config, args: argparse.Namespace) -> list[str]:
    """Writes the arguments of this command into the config.

    Args:
        cfg (Config): Changed in place.
        args (Namespace): As parsed.

    Returns:
        list[str]: Lines for the log.

    Raises:
        ConfigError: An argument does not fit the config.
    """
    from ._config import scale_lr, set_amp
    from ._launch import world_size

    notes = []
    if args.no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    if args.amp:
        set_amp(cfg, args.amp)
        notes.append(f'Mixed precision: {args.amp}')
    if args.auto_scale_lr or (cfg.get('auto_scale_lr') or {}).get('enable'):
        notes.append(scale_lr(cfg, world_size(cfg.launcher)))
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.resume is not None:
        cfg.resume = True
        cfg.load_from = None if args.resume == 'auto' else args.resume
    return notes
