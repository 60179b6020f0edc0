"""Files that are either whole or not there.

A file is written under a temporary name in its own folder, forced to the
disk and renamed, which the file system does in one piece; then the folder is
forced to the disk. A process that dies on the way leaves the older file and
a temporary one, which the next run removes.
"""
from __future__ import annotations

import io
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from mmengine.fileio import LocalBackend, get_file_backend

# .NAME@HOST@PID.tmp
_TEMPORARY = re.compile(r'\..+@(?P<host>[^@]*)@(?P<pid>\d+)\.tmp')


def save_file(content: Any, path: str,
              backend_args: dict | None = None) -> None:
    """Saves an object as a ``torch.save`` file, whole or not at all.

    Args:
        content (Any): What to save.
        path (str): A path, or an address that MMEngine's file back ends know,
            to which the whole object is handed at once.
        backend_args (dict, optional): Arguments of the back end.

    Raises:
        OSError: It could not be written, for example for want of space. The
            temporary file is gone, an older file of this name unchanged.
    """
    _save(path, lambda file: torch.save(content, file), backend_args)


def save_bytes(content: bytes, path: str,
               backend_args: dict | None = None) -> None:
    """Saves bytes, whole or not at all; see :func:`save_file`."""
    def write(file: BinaryIO) -> None:
        file.write(content)

    _save(path, write, backend_args)


def is_local(path: str, backend_args: dict | None = None) -> bool:
    """Tells whether a path is one of this machine's file system."""
    return isinstance(get_file_backend(path, backend_args=backend_args),
                      LocalBackend)


def _save(path: str, write: Callable[[BinaryIO], None],
          backend_args: dict | None) -> None:
    """Writes to a local file or hands the bytes to a back end."""
    if is_local(path, backend_args):
        _replace(Path(path), write)
        return
    buffer = io.BytesIO()
    write(buffer)
    backend = get_file_backend(path, backend_args=backend_args)
    try:
        backend.put(buffer.getvalue(), path)
    except Exception as error:  # each back end has errors of its own
        raise OSError(f'{type(backend).__name__}: {error}') from error


def _replace(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Temporary file, disk, new name, disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(
        f'.{path.name}@{socket.gethostname()}@{os.getpid()}.tmp')
    try:
        with open(temporary, 'wb') as file:
            guarded = _Guarded(file)
            try:
                write(guarded)  # type: ignore[arg-type]
            except RuntimeError as error:
                # torch's writer hides what the file said
                raise guarded.error or error from error
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


class _Guarded:
    """A file that remembers its first error."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes all of it."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        """Hands buffered bytes to the system."""
        self.file.flush()


def _sync_folder(folder: Path) -> None:
    """Forces the names in a folder to the disk, where that is possible."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems have no such call for folders
    finally:
        os.close(handle)


def remove_leftovers(folder: str | Path) -> list[str]:
    """Removes the temporary files of runs that died while they saved.

    Args:
        folder (str | Path): Where checkpoints lie. Files of a living process
            of this machine stay.

    Returns:
        list[str]: Names of the removed files.
    """
    removed = []
    here = socket.gethostname()
    folder = Path(folder)
    for path in sorted(folder.glob('.*.tmp')) if folder.is_dir() else ():
        match = _TEMPORARY.fullmatch(path.name)
        if match is None or (
                match['host'] == here and _alive(int(match['pid']))):
            continue
        path.unlink(missing_ok=True)
        removed.append(path.name)
    return removed


def _alive(pid: int) -> bool:
    """Tells whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
