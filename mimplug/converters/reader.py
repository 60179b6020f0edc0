"""Reads weight files of any origin without running code from them."""
from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from mmengine.fileio import get_local_path
from torch import Tensor
from torch.serialization import (
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    get_unsafe_globals_in_checkpoint,
)

from mimplug.errors import CheckpointError, suggest

Tensors = dict[str, Tensor]

# Names under which training programs keep the one state dict of a file. A
# choice between networks (teacher, student, ema) is the caller's.
WRAPPERS = ('state_dict', 'model')


class Inert:
    """Stands in for every object that is no tensor or plain container.

    Takes what a pickle passes to a constructor or as state, and drops it.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Inert:
        """Builds the object whatever the arguments are."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Ignores the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Ignores the state."""


def read_file(path: str | Path) -> Any:
    """Content of a weight file, everything but tensors and containers inert.

    ``.npz`` is read without pickles, ``.safetensors`` with the package of that
    name, anything else as a ``torch.save`` file by torch's weights-only
    machine. Classes and functions that such a file names (iBOT and DINO store
    an ``argparse.Namespace``, MMEngine its message hub) are replaced by
    :class:`Inert` before reading: they are never imported or called. Names
    in ``os`` and ``sys`` are refused.

    Args:
        path (str | Path): A file, or an address that MMEngine's file
            back ends know.

    Returns:
        Any: Nested dicts and lists with tensors on the CPU.

    Raises:
        CheckpointError: The file is missing, damaged, of another kind, or
            wants what the restricted reader refuses.
    """
    if '://' not in str(path) and not Path(path).is_file():
        folder = Path(path).parent
        names = sorted(entry.name for entry in folder.iterdir()
                       ) if folder.is_dir() else []
        raise CheckpointError(
            f'{path}: no such file; {suggest(Path(path).name, names)}')
    read = {'.npz': _read_npz, '.safetensors': _read_safetensors}.get(
        Path(str(path)).suffix, _read_torch)
    try:
        with get_local_path(str(path)) as local:
            return read(local)
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes fail in any way they like
        raise CheckpointError(
            f'{path}: cannot be read as weights: {_reason(error)}') from error


def _read_npz(path: str | Path) -> dict[str, Any]:
    """Arrays as tensors; arrays of text stay arrays."""
    with np.load(path, allow_pickle=False) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    return {name: torch.from_numpy(np.array(value))
            if value.dtype.kind in 'biufc' else value
            for name, value in content.items()}


def _read_safetensors(path: str | Path) -> Tensors:
    """All tensors of a safetensors file."""
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f'{path}: reading this needs the package safetensors '
            '(pip install safetensors)') from error
    tensors: Tensors = load_file(path)
    return tensors


def _read_torch(path: str | Path) -> Any:
    """A ``torch.save`` file; the format before torch 1.6 without stand-ins."""
    with _no_known_globals():
        if zipfile.is_zipfile(path):
            names = get_unsafe_globals_in_checkpoint(str(path))
            add_safe_globals([(Inert, name) for name in names])
        return torch.load(path, map_location='cpu', weights_only=True)


@contextmanager
def _no_known_globals() -> Iterator[None]:
    """Forgets what other code has allowed pickles to name, and restores it."""
    before = get_safe_globals()
    clear_safe_globals()
    try:
        yield
    finally:
        clear_safe_globals()
        add_safe_globals(before)


def _reason(error: BaseException) -> str:
    """First line; torch's refusal without its advice to run the pickle."""
    if isinstance(error, UnpicklingError) and error.__context__ is not None:
        error = error.__context__
    text = str(error).strip().split('. Please use')[0]
    return text.splitlines()[0] if text else type(error).__name__


def select_state(content: Any, key: str | None = None,
                 source: str | Path = 'checkpoint') -> Tensors:
    """The state dict inside the content of a file.

    Args:
        content (Any): From :func:`read_file`.
        key (str, optional): Entry that holds the state dict, e.g.
            ``'teacher'``. None: the content itself if it is one, else its
            ``state_dict`` or ``model``. Defaults to None.
        source (str | Path): Name of the file, for messages.

    Returns:
        dict[str, Tensor]: Without ``module.`` if every name starts with it.

    Raises:
        CheckpointError: No such entry, several that could be meant, or an
            entry that is no tensor.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f'{source}: holds a {type(content).__name__}, not a state dict')
    state = _find_state(content, key, source)
    foreign = [str(name) for name, value in state.items()
               if not isinstance(value, Tensor)]
    if foreign or not state:
        raise CheckpointError(
            f'{source}: key={key!r} is no state dict; entries that are no '
            f'tensor: {", ".join(foreign[:5]) or "(it is empty)"}')
    return strip_ddp(state)


def _find_state(content: Mapping, key: str | None,
                source: str | Path) -> Mapping:
    """The mapping that ``key`` means."""
    inner = [str(name) for name, value in content.items()
             if isinstance(value, Mapping)]
    if key is not None:
        if key not in inner:
            raise CheckpointError(
                f'{source}: key={key!r} holds no state dict; '
                f'{suggest(key, inner)}')
        found: Mapping = content[key]
        return found
    wrappers = [name for name in WRAPPERS if name in inner]
    if len(wrappers) == 1:
        return _find_state(content, wrappers[0], source)
    if inner:
        raise CheckpointError(
            f'{source}: several parts; choose one by key=…; allowed: '
            f'{", ".join(inner)}')
    return content


def strip_ddp(tensors: Mapping[str, Tensor]) -> Tensors:
    """Cuts ``module.`` off the front if every name has it there."""
    if all(name.startswith('module.') for name in tensors):
        return under(tensors, 'module.')
    return dict(tensors)


def under(tensors: Mapping[str, Tensor], prefix: str) -> Tensors:
    """The tensors whose name starts with ``prefix``, which is cut off."""
    return {name[len(prefix):]: value for name, value in tensors.items()
            if name.startswith(prefix)}


def take_prefix(tensors: Tensors, prefix: str | None,
                source: str | Path = 'checkpoint') -> Tensors:
    """Like :func:`under`, but finding nothing is an error.

    Args:
        tensors (dict[str, Tensor]): A state dict.
        prefix (str, optional): For example ``'backbone.'``; None or empty:
            everything.
        source (str | Path): Name of the file, for messages.

    Returns:
        dict[str, Tensor]: The part, prefix cut off.

    Raises:
        CheckpointError: No name starts with the prefix.
    """
    part = under(tensors, prefix or '')
    if not part:
        heads = dict.fromkeys(
            f'{name.split(".")[0]}.' for name in tensors if '.' in name)
        raise CheckpointError(
            f'{source}: no name starts with prefix={prefix!r}; '
            f'{suggest(prefix, heads)}')
    return part
