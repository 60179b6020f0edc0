"""Weights of a checkpoint for a model that no runner holds."""
from __future__ import annotations

from torch import nn

from mimplug.converters import load_strict, read_file, select_state

from .._checkpoint import RESIZABLE


def load_weights(model: nn.Module, path: str) -> None:
    """Reads a checkpoint without running its pickles; every tensor must fit.

    Args:
        model (nn.Module): Changed in place.
        path (str): Checkpoint of a run of the same config.

    Raises:
        CheckpointError: It cannot be read, or belongs to another model.
    """
    load_strict(model, select_state(read_file(path), source=path),
                resizable=RESIZABLE, source=path)
