"""What a wheel holds."""
from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.unit
def test_links_of_an_editable_install():
    linked = ROOT / 'mimplug' / '.mim'
    for name in ('configs', 'tools', 'model-index.yml'):
        assert (linked / name).resolve() == ROOT / name


@pytest.mark.full
def test_wheel_is_complete(tmp_path):
    # a copy: a build folder of earlier days would hide what is missing
    copy = tmp_path / 'copy'
    shutil.copytree(ROOT, copy, symlinks=True, ignore=shutil.ignore_patterns(
        '.venv', '.git', 'build', 'work_dirs', '*.egg-info', '__pycache__',
        'goldens'))
    subprocess.run(
        [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w',
         str(tmp_path), str(copy)], check=True)
    wheel, = tmp_path.glob('mimplug-*.whl')
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / 'mimplug'
    wanted = {
        str(path.relative_to(ROOT)) for path in package.rglob('*')
        if path.is_file() and path.suffix in ('.py', '.typed')
    }
    data = {str(path.relative_to(ROOT))
            for path in (package / 'data').rglob('*') if path.is_file()}
    assert data
    mim = {f'mimplug/.mim/{path.relative_to(ROOT)}'
           for folder in ('configs', 'tools')
           for path in (ROOT / folder).rglob('*')
           if path.is_file() and '__pycache__' not in path.parts}
    mim.add('mimplug/.mim/model-index.yml')
    assert wanted | data | mim <= names
    assert not [name for name in names if name.startswith('tests')]
