"""A file is whole or it is not there."""
from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import socket

import pytest
import torch
from mmengine.fileio import register_backend
from mmengine.fileio.backends import BaseStorageBackend

from mimplug.engine.checkpoint import files, remove_leftovers, save_file

pytestmark = pytest.mark.unit


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / 'new' / 'a.pth'
    save_file({'x': 1}, str(path))
    order = []
    for name in ('fsync', 'replace'):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *a, n=name, f=real: (
            order.append(n), f(*a))[1])
    save_file({'x': 2}, str(path))
    assert torch.load(path, weights_only=True) == {'x': 2}
    assert names(path.parent) == ['a.pth']
    # data before the name, then the name itself
    assert order == ['fsync', 'replace', 'fsync']


class Full:
    """A file on a disk without space after some bytes."""

    def __init__(self, file, space):
        self.file, self.space = file, space

    def write(self, data):
        self.space -= len(bytes(data))
        if self.space < 0:
            raise OSError(errno.ENOSPC, 'No space left on device')
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.file.close()


@pytest.mark.parametrize('space', [0, 500, 3000])
def test_without_space_the_old_file_stays(tmp_path, monkeypatch, space):
    path = tmp_path / 'a.pth'
    save_file({'x': torch.zeros(1000)}, str(path))
    real = open
    monkeypatch.setattr(files, 'open', lambda *a: Full(real(*a), space),
                        raising=False)
    with pytest.raises(OSError) as caught:
        save_file({'x': torch.ones(1000)}, str(path))
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == ['a.pth']
    assert not torch.load(path)['x'].any()


def _save_with_limit(path, queue):
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        save_file({'x': torch.ones(100_000)}, path)
    except OSError as error:
        queue.put((error.errno, names(path.parent)))


def test_the_system_refuses_to_write(tmp_path):
    path = tmp_path / 'a.pth'
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=_save_with_limit, args=(path, queue))
    child.start()
    assert queue.get(timeout=30) == (errno.EFBIG, [])
    child.join()
    assert child.exitcode == 0


def test_only_files_of_the_dead_are_removed(tmp_path):
    child = multiprocessing.get_context('fork').Process(target=int)
    child.start()
    child.join()
    here = socket.gethostname()
    dead = [f'.a.pth@{here}@{child.pid}.tmp', '.a.pth@elsewhere@1.tmp']
    stay = [f'.a.pth@{here}@{os.getpid()}.tmp', '.mine.tmp', 'a.pth']
    for name in dead + stay:
        (tmp_path / name).write_bytes(b'')
    assert remove_leftovers(tmp_path) == sorted(dead)
    assert names(tmp_path) == sorted(stay)
    assert remove_leftovers(tmp_path / 'missing') == []


class Store(BaseStorageBackend):
    """Objects in memory."""

    objects: dict = {}  # noqa: RUF012

    def get(self, filepath):
        return self.objects[filepath]

    def get_text(self, filepath):
        raise NotImplementedError

    def put(self, obj, filepath):
        if 'full' in filepath:
            raise RuntimeError('quota')
        self.objects[filepath] = obj


def test_other_places_get_the_whole_object(tmp_path):
    register_backend('memory-store', Store, force=True, prefixes='memory')
    save_file({'x': 1}, 'memory://box/a.pth')
    (address, content), = Store.objects.items()
    assert address == 'memory://box/a.pth'
    (tmp_path / 'a.pth').write_bytes(content)
    assert torch.load(tmp_path / 'a.pth', weights_only=True) == {'x': 1}
    with pytest.raises(OSError, match='Store: quota'):
        save_file({'x': 1}, 'memory://full/a.pth')
