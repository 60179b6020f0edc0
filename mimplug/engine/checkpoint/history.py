"""MMEngine's message hub as tensors and back.

The hub pickles its history buffers together with references to their methods,
so that a file with it cannot be read without running code.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

from .plain import to_plain

FIELDS = {'values', 'counts', 'max_length'}


def pack_hub(hub: MessageHub, history: int) -> dict[str, dict]:
    """The state of a message hub, its buffers as pairs of tensors.

    Args:
        hub (MessageHub): Scalars and runtime information of a run.
        history (int): Latest values kept of each scalar, >= 1.

    Returns:
        dict: ``log_scalars`` (name → ``values`` and ``counts``, float64 of at
        most ``history`` entries, and ``max_length``), ``runtime_info`` as the
        hub has it, ``resumed_keys``.
    """
    state = hub.state_dict()
    state['log_scalars'] = {
        name: dict(values=_tail(buffer.data[0], history),
                   counts=_tail(buffer.data[1], history),
                   max_length=int(buffer.max_length))
        for name, buffer in state['log_scalars'].items()}
    state['resumed_keys'] = dict(state['resumed_keys'])
    return dict(state)


def _tail(data: np.ndarray, length: int) -> Tensor:
    """The latest entries, in memory of their own."""
    return torch.from_numpy(np.array(data[-length:], dtype=np.float64))


def unpack_hub(state: dict[str, Any]) -> list[str]:
    """Makes history buffers of the tensors of :func:`pack_hub`, in place.

    Args:
        state (dict): Entry ``message_hub`` of a checkpoint; MMEngine's own
            form stays as it is.

    Returns:
        list[str]: What had another form and has been left out, for example
        the stand-ins of a strict reader.
    """
    lost: list[str] = []
    if 'runtime_info' in state:
        state['runtime_info'] = to_plain(state['runtime_info'], lost)
        for name in [entry.split(' ')[0] for entry in lost]:
            state.get('resumed_keys', {}).pop(name, None)
    scalars = state.get('log_scalars', {})
    for name, entry in list(scalars.items()):
        if isinstance(entry, HistoryBuffer):
            continue
        if isinstance(entry, Mapping) and entry.keys() >= FIELDS:
            scalars[name] = HistoryBuffer(
                entry['values'].cpu().numpy(), entry['counts'].cpu().numpy(),
                max_length=entry['max_length'])
        else:
            lost.append(name)
            del scalars[name]
            state.get('resumed_keys', {}).pop(name, None)
    return lost
