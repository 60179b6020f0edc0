"""``pytest -m golden --goldens DIR`` as a user types it."""
from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ARRAYS = ROOT / 'tests/goldens'

pytestmark = pytest.mark.e2e


def run(*args: str) -> subprocess.CompletedProcess:
    """pytest in a process of its own, from the project's root."""
    return subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
         *args], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})


def test_folder_outside_the_project(tmp_path):
    """Of the topics only those in DIR run; the others are not skipped.

    pytest once took DIR for a test path and knew no such option.
    """
    shutil.copytree(ARRAYS / 'mixmask', tmp_path / 'mixmask')
    done = run('-m', 'golden', '--goldens', str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    summary = done.stdout.splitlines()[-1]
    assert re.search(r'\d+ passed', summary)
    assert 'deselected' in summary
    assert 'skipped' not in summary


def test_missing_file_fails_its_topic(tmp_path):
    (tmp_path / 'mixmask').mkdir()
    done = run('-m', 'golden', f'--goldens={tmp_path}',
               'tests/models/test_memory.py')
    assert done.returncode == 1, done.stdout + done.stderr
    assert 'queue_trace.npz is missing' in done.stdout


def test_folder_that_does_not_exist():
    done = run('-m', 'golden', '--goldens=nowhere',
               'tests/models/test_memory.py')
    assert done.returncode == 4
    assert '--goldens nowhere: no such folder' in done.stderr


def test_no_two_test_files_share_a_name():
    """pytest imports them by name alone; two of one name once broke a run.

    Only a run without another's leftovers in ``__pycache__`` shows it.
    """
    names = [path.name for path in (ROOT / 'tests').rglob('*.py')
             if path.name != 'conftest.py']
    twice = {name for name in names if names.count(name) > 1}
    assert not twice
