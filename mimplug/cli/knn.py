"""Measure the features of a checkpoint by weighted k-nearest neighbours.

The config says which images vote and which are classified: its val_cfg must
be a mimplug.KNNValLoop. What is not given here is taken from there.

Examples:
    mimplug knn CONFIG.py work_dirs/CONFIG/epoch_100.pth
    mimplug knn CONFIG.py CHECKPOINT.pth --k 10 20 100 200 --key student
"""
from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from mimplug.errors import ConfigError

from ._config import add_shared_arguments

if TYPE_CHECKING:
    from mmengine.config import Config

LOOP = 'mimplug.KNNValLoop'
KEYS = ('auto', 'teacher', 'student')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of this command."""
    add_shared_arguments(parser)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument(
        '--k', nargs='+', type=int, metavar='K',
        help='numbers of neighbours, for example 10 20 100 200')
    parser.add_argument(
        '--temperature', type=float, metavar='T',
        help='T of the votes exp(similarity / T); published: 0.07')
    parser.add_argument(
        '--key', choices=KEYS,
        help='network to evaluate; auto: the teacher where there is one')
    parser.add_argument(
        '--out', metavar='FILE', help='write the metrics to this file (.json)')


def run(args: argparse.Namespace) -> int:
    """Evaluates once and prints a table.

    Args:
        args (Namespace): As parsed.

    Returns:
        int: 0.

    Raises:
        ConfigError: The config describes no k-NN, or a setting is wrong.
        CheckpointError: The file does not fit the model.
    """
    from mmengine.dist import is_main_process
    from mmengine.fileio import dump

    from ._build import build_runner, clear_errors
    from ._checkpoint import StrictLoadHook
    from ._config import load_config
    from ._launch import leave_group, prepare_launch

    cfg = load_config(args)
    apply_arguments(cfg, args)
    loading = StrictLoadHook(args.checkpoint)
    prepare_launch(cfg)
    runner = build_runner(cfg)
    runner.register_hook(loading)
    with clear_errors():
        metrics = runner.val()
    if is_main_process():
        print(format_table(metrics, args.checkpoint))  # noqa: T201
        if args.out:
            dump(metrics, args.out)
    del runner
    leave_group(cfg.launcher)
    return 0


def apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Writes the arguments of this command into ``val_cfg``.

    Weights come from the command line alone: nothing is resumed or loaded.

    Args:
        cfg (Config): Changed in place.
        args (Namespace): As parsed.

    Raises:
        ConfigError: ``val_cfg`` is not a k-NN loop.
    """
    loop = cfg.get('val_cfg')
    if loop is None or loop.get('type') != LOOP:
        got = 'none' if loop is None else repr(loop.get('type', 'ValLoop'))
        raise ConfigError(
            f'mimplug knn needs val_cfg=dict(type={LOOP!r}, '
            f'bank=dict(...)) in the config, which says which labelled '
            f'images vote; its loop: {got}')
    cfg.resume, cfg.load_from = False, None
    for name in ('k', 'temperature', 'key'):
        value = getattr(args, name)
        if value is not None:
            loop[name] = value


def format_table(metrics: Mapping[str, float], title: str) -> str:
    """Returns one line a k, and one a further metric.

    Args:
        metrics (dict): As :class:`mimplug.KNNValLoop` gives them.
        title (str): First line.

    Returns:
        str: The table, in percent but for the indices in [0, 1].
    """
    lines = [title, '     k  top-1 %  top-5 %']
    prefix = 'knn/top1_k'
    for name, value in metrics.items():
        if name.startswith(prefix):
            k = name[len(prefix):]
            lines.append(
                f'{k:>6}  {value:7.2f}  {metrics[f"knn/top5_k{k}"]:7.2f}')
        elif not name.startswith('knn/'):
            lines.append(f'{name}: {value:.4f}')
    return '\n'.join(lines)

