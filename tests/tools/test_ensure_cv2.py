"""A cv2 that cannot be loaded is replaced by the build without a GUI."""
from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

import pytest

TOOL = (Path(__file__).resolve().parents[2] / 'tools' / 'misc' /
        'ensure_cv2.py')
pytestmark = pytest.mark.unit


@pytest.fixture
def tool(monkeypatch):
    """The script as a module whose pip only notes what it was asked."""
    spec = importlib.util.spec_from_file_location('ensure_cv2', TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.calls = []
    monkeypatch.setattr(module, 'pip', lambda *a: module.calls.append(a))
    monkeypatch.setattr(module.metadata, 'version', lambda name: '4.5.6')
    return module


def errors(monkeypatch, tool, *texts):
    left = list(texts)
    monkeypatch.setattr(tool, 'import_error', lambda: left.pop(0))


def test_working_cv2_is_left_alone(tool, monkeypatch):
    errors(monkeypatch, tool, '')
    assert tool.main() == 0
    assert tool.calls == []


def test_missing_libgl_swaps_to_the_same_version(tool, monkeypatch, capsys):
    errors(monkeypatch, tool, 'ImportError: libGL.so.1: not found', '')
    assert tool.main() == 0
    assert tool.calls == [
        ('uninstall', '-y', 'opencv-python', 'opencv-python-headless'),
        ('install', '--no-deps', 'opencv-python-headless==4.5.6')
    ]
    assert 'libGL.so.1' in capsys.readouterr().out


def test_still_broken_says_what_to_install(tool, monkeypatch, capsys):
    errors(monkeypatch, tool, 'ImportError: libGL', 'ImportError: libglib')
    assert tool.main() == 1
    assert 'libglib' in capsys.readouterr().err


def test_no_opencv_at_all(tool, monkeypatch, capsys):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(tool.metadata, 'version', absent)
    errors(monkeypatch, tool, 'ModuleNotFoundError: No module named cv2')
    assert tool.main() == 1
    assert 'No module named cv2' in capsys.readouterr().err


def test_import_error_of_this_environment(tool):
    assert tool.import_error() == ''
