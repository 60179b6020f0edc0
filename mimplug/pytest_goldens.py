"""The pytest option ``--goldens DIR`` (an entry point of the package).

pytest reads its arguments before it finds the conftest files. Of an option
that it does not know yet it takes ``DIR`` for a test path, looks for its
settings there and then finds neither option nor tests. An installed plugin is
known early enough.
"""
from __future__ import annotations

import pytest

MARKER = ('golden(topic, *files): compare with stored arrays of the '
          'reference implementations')


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--goldens``.

    Args:
        parser (Parser): pytest's.
    """
    parser.addoption(
        '--goldens', default=None, metavar='DIR',
        help='folder with one folder of .npz arrays a topic, for the tests of '
        'mimplug (default: tests/goldens)')


def pytest_configure(config: pytest.Config) -> None:
    """Names the marker, also where pyproject.toml was not found.

    Args:
        config (Config): pytest's.
    """
    config.addinivalue_line('markers', MARKER)
