"""Golden harness, markers and shared fixtures."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from golden_file import Golden

HERE = Path(__file__).parent


MARKERS = (
    'unit: one object, under a second',
    'property: invariants over many inputs',
    'e2e: a tiny real training',
    'dist: starts two gloo processes',
    'gpu: needs CUDA; run it where there is one',
    'full: only in make test-full',
    'asset(name): needs a file of tools/fetch_assets.py',
)

# Without an installed package the option is still needed.
pytest_plugins = ('mimplug.pytest_goldens', )


def pytest_configure(config):
    """Here and not in pyproject.toml, which a foreign --goldens hides."""
    for marker in MARKERS:
        config.addinivalue_line('markers', marker)


def _golden_dir(config) -> Path:
    given = config.getoption('--goldens')
    return Path(given) if given else HERE / 'goldens'


def pytest_generate_tests(metafunc):
    """``@pytest.mark.golden(topic, file, …)`` runs the test once a file."""
    marker = metafunc.definition.get_closest_marker('golden')
    if marker is None or 'golden' not in metafunc.fixturenames:
        return
    topic, *files = marker.args
    metafunc.parametrize(
        'golden', [(topic, name) for name in files],
        ids=[f'{topic}-{name}' for name in files], indirect=True)


@pytest.fixture
def golden(request) -> Golden:
    """The file named by the marker; missing in its topic: a failure."""
    topic, name = request.param
    path = _golden_dir(request.config) / topic / f'{name}.npz'
    if not path.is_file():
        pytest.fail(f'{path} is missing although its topic is present')
    return Golden(path)


def pytest_collection_modifyitems(config, items):
    """Deselects topics that the golden folder does not hold."""
    folder = _golden_dir(config)
    if config.getoption('--goldens') and not folder.is_dir():
        raise pytest.UsageError(f'--goldens {folder}: no such folder')
    keep, drop = [], []
    for item in items:
        marker = item.get_closest_marker('golden')
        absent = marker is not None and not (folder / marker.args[0]).is_dir()
        (drop if absent else keep).append(item)
    if drop:
        config.hook.pytest_deselected(items=drop)
        items[:] = keep


def pytest_runtest_setup(item):
    """A missing asset skips a test; in CI, which fetches them, it fails."""
    for marker in item.iter_markers('asset'):
        from mimplug.datasets.assets import asset_path
        from mimplug.errors import AssetError
        try:
            asset_path(*marker.args)
        except AssetError as error:
            missing = pytest.fail if os.environ.get('CI') else pytest.skip
            missing(str(error))


@pytest.fixture(autouse=True)
def _few_threads():
    """Two threads: what the test machine has. OMP_NUM_THREADS may say 1."""
    allowed = int(os.environ.get('OMP_NUM_THREADS', 2))
    torch.set_num_threads(min(allowed, os.cpu_count() or 1))
