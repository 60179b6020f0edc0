"""The command line as a whole."""
from __future__ import annotations

import subprocess
import sys

import pytest

from mimplug.cli import build_parser, main, subcommands

pytestmark = pytest.mark.unit


def test_subcommands_are_the_public_modules():
    assert {'train', 'test', 'knn'} <= set(subcommands())
    assert not [name for name in subcommands() if name.startswith('_')]


@pytest.mark.parametrize('name', subcommands())
def test_help_of_each(name, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([name, '--help'])
    assert exit_info.value.code == 0
    assert f'mimplug {name}' in capsys.readouterr().out


def test_help_lists_each_with_its_docstring(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    text = capsys.readouterr().out
    assert 'Pre-train or fine-tune from a config.' in text


def test_no_command_is_an_error(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main([])
    assert exit_info.value.code == 2
    assert 'COMMAND' in capsys.readouterr().err


def test_python_dash_m():
    result = subprocess.run(
        [sys.executable, '-m', 'mimplug', '--version'], text=True,
        capture_output=True, check=True)
    assert result.stdout.strip() == '0.1.0'


def test_parsing_loads_no_model_code():
    code = ('import sys; from mimplug.cli import build_parser; '
            'build_parser(); assert "mmpretrain" not in sys.modules; '
            'assert "torchvision" not in sys.modules')
    subprocess.run([sys.executable, '-c', code], check=True)


def test_traceback_on_request(tmp_path):
    from mimplug.errors import ConfigError
    with pytest.raises(ConfigError, match='no such file'):
        main(['train', str(tmp_path / 'none.py'), '--traceback'])


def test_parser_keeps_old_launcher_argument():
    args = build_parser().parse_args(['train', 'c.py', '--local-rank=1'])
    assert args.local_rank == 1
