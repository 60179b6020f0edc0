"""The next batch travels to the GPU while the present one is trained on."""
from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor


def prefetch_to(batches: Iterator[Any], device: torch.device
                ) -> Iterator[Any]:
    """Batches that are on the device when they are asked for.

    Args:
        batches (Iterator): Batches of a loader: tensors, or dicts, lists and
            tuples of them; anything else stays as it is.
        device (torch.device): Where the model is.

    Returns:
        Iterator: The same batches in the same order. On CUDA one batch is
        copied ahead on a stream of its own; elsewhere ``batches`` itself.
    """
    if device.type != 'cuda':
        return batches
    return _Ahead(batches, device)


class _Ahead:
    """Holds one batch whose copy runs beside the computation."""

    def __init__(self, batches: Iterator[Any], device: torch.device) -> None:
        self.batches = batches
        self.device = device
        self.stream = torch.cuda.Stream(device)
        self.pending: Any = None
        self.filled = False
        self.warned = False

    def __iter__(self) -> _Ahead:
        return self

    def __next__(self) -> Any:
        if not self.filled:  # only before the first batch and after the last
            self._fill()
        if not self.filled:
            raise StopIteration
        present = torch.cuda.current_stream(self.device)
        present.wait_stream(self.stream)
        batch = self.pending
        # the copy's memory belongs to the side stream: it may be used again
        # only after the computation that starts now
        _each(batch, lambda tensor: tensor.record_stream(present))
        self._fill()
        return batch

    def _fill(self) -> None:
        """Starts the copy of one more batch, if there is one."""
        self.pending, self.filled = None, False
        for batch in self.batches:
            with torch.cuda.stream(self.stream):
                self.pending = _map(batch, self._move)
            self.filled = True
            return

    def _move(self, tensor: Tensor) -> Tensor:
        """A tensor on the device."""
        if (not self.warned and tensor.device.type == 'cpu'
                and not tensor.is_pinned()):
            self.warned = True
            print_log(
                'Copies to the GPU wait for each other: write '
                'train_dataloader.pin_memory=True to run them beside the '
                'computation', logger='current', level=logging.WARNING)
        return tensor.to(self.device, non_blocking=True)


def _map(batch: Any, move: Any) -> Any:
    """A batch of the same form with its tensors replaced."""
    if isinstance(batch, Tensor):
        return move(batch)
    if isinstance(batch, Mapping):
        return {name: _map(part, move) for name, part in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, '_fields'):
        return type(batch)(*(_map(part, move) for part in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(_map(part, move) for part in batch)
    return batch


def _each(batch: Any, act: Any) -> None:
    """Calls ``act`` with every tensor that :func:`_map` replaces."""
    def visit(tensor: Tensor) -> Tensor:
        if tensor.is_cuda:
            act(tensor)
        return tensor

    _map(batch, visit)
