"""The command ``mimplug``: one module of this package a subcommand.

A subcommand module has a docstring whose first line is its help,
``add_arguments(parser)`` and ``run(args) -> int``. Modules whose name starts
with an underscore are helpers. Heavy imports belong inside ``run``.
"""
from __future__ import annotations

import argparse
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module

from mimplug.errors import ConfigError, Interrupted, MimplugError
from mimplug.version import __version__


def subcommands() -> list[str]:
    """Returns the names of all subcommands, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(__path__)
                  if not info.name.startswith('_'))


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser with every subcommand."""
    parser = argparse.ArgumentParser(
        prog='mimplug',
        description='Masked self-supervised pre-training on MMEngine.')
    parser.add_argument('--version', action='version', version=__version__)
    commands = parser.add_subparsers(
        dest='command', metavar='COMMAND', required=True)
    for name in subcommands():
        module = import_module(f'{__name__}.{name}')
        text = (module.__doc__ or '').strip()
        command = commands.add_parser(
            name.replace('_', '-'), help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(command)
        command.add_argument(
            '--traceback', action='store_true',
            help='on an error, show where it was raised')
        command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Args:
        argv (Sequence[str], optional): Arguments without the program's name.
            Defaults to those of the process.

    Returns:
        int: 0 if all went well, 1 for an error while running, 2 for a wrong
        setting, 75 if a signal stopped a training that wants to be started
        again with ``--resume``, 130 if Ctrl-C did. Any message goes to
        stderr.
    """
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except Interrupted as stop:
        print(f'mimplug {args.command}: {stop}', file=sys.stderr)  # noqa: T201
        return stop.exit_code
    except MimplugError as error:
        if args.traceback:
            raise
        print(f'mimplug {args.command}: {error}',  # noqa: T201
              file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
