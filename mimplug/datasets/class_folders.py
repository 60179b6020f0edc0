"""Sorting image files into one folder a class."""
from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from mimplug.errors import ConfigError, check_choice

MODES = ('move', 'copy', 'link')


def place_files(pairs: Iterable[tuple[Path, str]], root: Path,
                mode: str = 'move') -> dict[str, int]:
    """Puts each file into ``root/<class>/``.

    Nothing is touched before all files are found. A file that is already at
    its place counts as done, so an interrupted call can be repeated.

    Args:
        pairs (Iterable[tuple[Path, str]]): File and name of its class.
        root (Path): Folder of the class folders.
        mode (str): ``'move'``, ``'copy'`` or ``'link'`` (symbolic).
            Defaults to ``'move'``.

    Returns:
        dict[str, int]: Files of each class.

    Raises:
        ConfigError: A file is missing, or a class has no usable name.
    """
    check_choice('mode', mode, MODES)
    counts: dict[str, int] = {}
    todo = []
    for source, name in pairs:
        if not name or Path(name).name != name:
            raise ConfigError(f'{source.name}: {name!r} is no class name')
        target = root / name / source.name
        counts[name] = counts.get(name, 0) + 1
        if target.exists():
            continue
        if not source.is_file():
            raise ConfigError(f'{source} is missing')
        todo.append((source, target))
    for source, target in todo:
        target.parent.mkdir(parents=True, exist_ok=True)
        _place(source, target, mode)
    return counts


def _place(source: Path, target: Path, mode: str) -> None:
    """One file; a copy appears under its name when it is complete."""
    if mode == 'link':
        target.symlink_to(source.resolve())
        return
    if mode == 'move':
        shutil.move(source, target)
        return
    part = target.with_name(f'{target.name}.part')
    shutil.copyfile(source, part)
    os.replace(part, target)


def describe(counts: dict[str, int]) -> str:
    """Says how many files of how many classes there are.

    Args:
        counts (dict[str, int]): From :func:`place_files`.

    Returns:
        str: Such as ``50000 images of 1000 classes, 50 to 50 of each``.
    """
    sizes = counts.values()
    return (f'{sum(sizes)} images of {len(counts)} classes, '
            f'{min(sizes, default=0)} to {max(sizes, default=0)} of each')
