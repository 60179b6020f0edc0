"""Finds the checkpoint that a run goes on from."""
from __future__ import annotations

import io
import logging
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.fileio import exists
from mmengine.logging import print_log

from mimplug.errors import CheckpointError

from .files import is_local

SUFFIXES = ('.pth', '.pt')


class _Blank:
    """Stands in for tensors and every other object of a header."""

    def __new__(cls, *args: Any, **kwargs: Any) -> _Blank:
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Ignores the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Ignores the state."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignores the entry."""

    def append(self, value: Any) -> None:
        """Ignores the entry."""

    def extend(self, values: Any) -> None:
        """Ignores the entries."""


class _Header(pickle.Unpickler):
    """Containers, numbers and text of a pickle; imports and calls nothing."""

    def find_class(self, module: str, name: str) -> Any:
        """Ordered dicts, and the stand-in for anything else."""
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        return _Blank

    def persistent_load(self, pid: Any) -> Any:
        """Tensor data are not read."""
        return None


def read_header(path: str | Path) -> dict[str, Any]:
    """The content of a checkpoint without its tensors.

    Reads the directory at the end of the file and the part that describes
    the tensors: milliseconds, whatever the size. Runs no code of the file.

    Args:
        path (str | Path): A ``torch.save`` file of this machine.

    Returns:
        dict: As saved; stand-ins take the place of tensors and objects.

    Raises:
        CheckpointError: The file is missing, cut off, or of another kind.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name, = [entry for entry in archive.namelist()
                     if entry.endswith('/data.pkl')
                     and entry.count('/') == 1]
            header = _Header(io.BytesIO(archive.read(name))).load()
    except Exception as error:  # damaged bytes fail in any way they like
        raise CheckpointError(
            f'{path}: no complete checkpoint ({type(error).__name__}: '
            f'{error})') from error
    if not isinstance(header, Mapping):
        raise CheckpointError(
            f'{path}: holds a {type(header).__name__}, not a checkpoint')
    return dict(header)


@dataclass(frozen=True)
class Found:
    """A complete checkpoint of a run."""
    path: Path
    whole: bool  # with its optimiser: a best file has weights only
    iterations: int
    samples: int | None
    written: float


def _inspect(path: Path, written: float) -> Found:
    """Reads where a file stands, or raises what is wrong with it."""
    header = read_header(path)
    meta = header.get('meta')
    if not isinstance(meta, Mapping) or not isinstance(
            meta.get('iter'), int):
        raise CheckpointError(f'{path}: holds no position of a run')
    samples = (meta.get('position') or {}).get('samples')
    return Found(path, 'optimizer' in header, meta['iter'], samples, written)


def find_latest(folder: str | Path,
                others: Iterable[str | Path] = ()) -> str | None:
    """The complete checkpoint of a run that is furthest ahead.

    All ``.pth`` files of the folders count, whatever their names say. Those
    with an optimiser come first, among them the one with the most samples
    seen, or iterations where a file does not know its samples. A file newer
    than the result that cannot be used is named in a warning.
    Where the folders hold none, the file that ``last_checkpoint`` names is
    taken, MMEngine's note of the latest one.

    Args:
        folder (str | Path): Work directory.
        others (Iterable[str | Path]): More folders, for example ``out_dir``
            of a hook. Defaults to none.

    Returns:
        str | None: Path or address; None: there is nothing to go on from.
    """
    pointer = _pointer(Path(folder))
    if pointer and not is_local(pointer):
        # a back end has whole objects only, and it was named afterwards
        return pointer if exists(pointer) else None
    places = {Path(place).resolve(): Path(place)
              for place in (*others, folder) if is_local(str(place))}
    latest = _latest([
        path for place in places.values() if place.is_dir()
        for path in sorted(place.iterdir()) if path.suffix in SUFFIXES])
    if latest is None and pointer and Path(pointer).is_file():
        latest = _latest([Path(pointer)])
    return None if latest is None else str(latest)


def _latest(paths: Iterable[Path]) -> Path | None:
    """The file that is furthest ahead; newer ones that are no use: warned."""
    found, refused = [], []
    for path in paths:
        try:
            written = path.stat().st_mtime
        except FileNotFoundError:
            continue  # a run that goes on has just removed it
        try:
            found.append(_inspect(path, written))
        except CheckpointError as error:
            refused.append((written, str(error)))
    best = _furthest(found)
    for written, reason in refused:
        if best is None or written >= best.written:
            print_log(f'Not resumed from {reason}', logger='current',
                      level=logging.WARNING)
    return None if best is None else best.path


def _furthest(found: list[Found]) -> Found | None:
    """The file with the latest position."""
    whole = [one for one in found if one.whole] or found
    known = all(one.samples is not None for one in whole)
    return max(whole, default=None, key=lambda one: (
        one.samples if known else one.iterations, one.written))


def _pointer(folder: Path) -> str | None:
    """What ``last_checkpoint`` names, MMEngine's note of the latest file."""
    try:
        text = (folder / 'last_checkpoint').read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text or None
