"""Turns nested objects into what a file can hold without code in it."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

# A Python float or integer keeps all its bits in a pickle.
SIMPLE: tuple[type, ...] = (bool, int, float, complex, str, bytes)
SEQUENCES: tuple[type, ...] = (list, tuple, set, frozenset)


def to_plain(value: Any, dropped: list[str], name: str = '') -> Any:
    """A copy that ``torch.load(weights_only=True)`` can read back.

    Tensors move to the CPU; arrays become tensors (arrays of text: lists),
    subclasses of dict, list and numbers the class itself, paths text.

    Args:
        value (Any): Nested containers, tensors, numbers, text.
        dropped (list[str]): Takes one line for each entry that has no plain
            form, for example a function. It is left out of its dict; in a
            sequence None takes its place.
        name (str): Where the value stands, for these lines.

    Returns:
        Any: The plain copy; CPU tensors share their memory with the original.
    """
    if value is None or type(value) in (*SIMPLE, torch.dtype, torch.device):
        return value
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, np.generic):
        return to_plain(value.item(), dropped, name)
    if isinstance(value, np.ndarray):
        if value.dtype.kind in 'biufc':
            # a copy: torch refuses negative strides and read-only memory
            return torch.from_numpy(np.array(value, order='C'))
        return to_plain(value.tolist(), dropped, name)
    if isinstance(value, Mapping):
        return _plain_mapping(value, dropped, name)
    for kind in SEQUENCES:
        if isinstance(value, kind):
            entries: Any = value
            return (set if kind is frozenset else kind)(
                to_plain(entry, dropped, f'{name}[{i}]')
                for i, entry in enumerate(entries))
    if isinstance(value, PurePath):
        return str(value)
    for base in SIMPLE:
        if isinstance(value, base):
            return base(value)
    dropped.append(f'{name} ({type(value).__name__})')
    return None


def _plain_mapping(value: Mapping, dropped: list[str], name: str) -> dict:
    """Entry by entry; a module's state dict keeps its version notes."""
    result: dict = (OrderedDict() if isinstance(value, OrderedDict) else {})
    for key, entry in value.items():
        place = f'{name}.{key}' if name else str(key)
        before = len(dropped)
        kept = to_plain(entry, dropped, place)
        lost = len(dropped) > before and kept is None
        if not lost:
            result[to_plain(key, dropped, place)] = kept
    notes = getattr(value, '_metadata', None)
    if notes is not None and isinstance(result, OrderedDict):
        plain_notes = to_plain(notes, dropped, f'{name}._metadata')
        result._metadata = plain_notes  # type: ignore[attr-defined]
    return result
