"""Draw pictures: masks on photographs.

`mimplug show TOPIC --help` tells more about a topic.
"""
from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module

from . import _show


def topics() -> list[str]:
    """Returns the names of all topics, sorted."""
    return sorted(info.name for info in pkgutil.iter_modules(_show.__path__)
                  if not info.name.startswith('_'))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one sub-command a topic."""
    commands = parser.add_subparsers(
        dest='topic', metavar='TOPIC', required=True)
    for name in topics():
        module = import_module(f'{_show.__name__}.{name}')
        text = (module.__doc__ or '').strip()
        topic = commands.add_parser(
            name.replace('_', '-'), help=text.splitlines()[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter)
        module.add_arguments(topic)
        # the command has it too; without a default of its own neither
        # forgets what the other was given
        topic.add_argument(
            '--traceback', action='store_true', default=argparse.SUPPRESS,
            help='on an error, show where it was raised')
        topic.set_defaults(draw=module.run)


def run(args: argparse.Namespace) -> int:
    """Runs the topic.

    Args:
        args (Namespace): As parsed.

    Returns:
        int: What the topic returns.
    """
    return int(args.draw(args))
