"""Evaluate a checkpoint with the test (or validation) loop of its config.

Example:
    mimplug test CONFIG.py work_dirs/CONFIG/epoch_100.pth --out metrics.json
"""
from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from mimplug.errors import ConfigError

from ._config import add_shared_arguments

if TYPE_CHECKING:
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_shared_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--out', metavar='FILE', help='write the metrics to this file (.json)')


def run(args: argparse.Namespace) -> int:
    """Evaluates once.

    Args:
        args (Namespace): As parsed.

    Returns:
        int: 0.

    Raises:
        ConfigError: The config has nothing to evaluate with.
        CheckpointError: The file does not fit the model.
    """
    from mmengine.dist import is_main_process
    from mmengine.fileio import dump

    from ._build import build_runner, clear_errors
    from ._checkpoint import StrictLoadHook
    from ._config import load_config
    from ._launch import leave_group, prepare_launch

    cfg = load_config(args)
    loop = choose_loop(cfg)
    loading = StrictLoadHook(args.checkpoint)
    prepare_launch(cfg)
    runner = build_runner(cfg)
    runner.register_hook(loading)
    with clear_errors():
        metrics = runner.test() if loop == 'test' else runner.val()
    if args.out and is_main_process():
        dump(metrics, args.out)
    del runner
    leave_group(cfg.launcher)
    return 0


def choose_loop(cfg: Config) -> str:
    """Returns which loop to run; weights come from the command line alone.

    Args:
        cfg (Config): Changed in place: nothing is resumed or loaded.

    Returns:
        str: ``'test'`` if the config has a test loop, else ``'val'``.

    Raises:
        ConfigError: It has neither.
    """
    cfg.resume, cfg.load_from = False, None
    for loop in ('test', 'val'):
        if cfg.get(f'{loop}_cfg') is not None:
            return loop
    raise ConfigError(
        'the config has neither test_cfg nor val_cfg; to measure the '
        'features of a checkpoint by k-NN see `mimplug knn --help`')
