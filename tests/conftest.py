"""Golden harness, markers and shared fixtures."""
from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent


def pytest_addoption(parser):
    parser.addoption(
        '--goldens', default=None, metavar='DIR',
        help='folder with one folder of .npz arrays a topic '
        '(default: tests/goldens)')


class Golden:
    """One file of reference arrays, read by key."""

    def __init__(self, path: Path):
        self.path = path
        with np.load(path, allow_pickle=False) as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def tensor(self, key: str, dtype: torch.dtype | None = None):
        """The array as a tensor."""
        return torch.from_numpy(np.array(self.arrays[key])).to(dtype)

    def scalar(self, key: str):
        """A 0-d array as a Python number or string."""
        return self.arrays[key].item()

    def tree(self, prefix: str, dtype: torch.dtype | None = None):
        """All arrays below ``prefix`` as tensors, the prefix cut off."""
        return {
            key[len(prefix):]: self.tensor(key, dtype)
            for key in self.arrays if key.startswith(prefix)
        }

    def names(self, prefix: str) -> list[str]:
        """First path components below ``prefix``, in file order."""
        return list(dict.fromkeys(
            key[len(prefix):].split('/')[0]
            for key in self.arrays if key.startswith(prefix)))


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


@pytest.fixture(autouse=True)
def _few_threads():
    """Two threads: what the test machine has."""
    torch.set_num_threads(min(2, os.cpu_count() or 1))
