"""Finds every place where the host would wait for a device."""
from __future__ import annotations

import traceback

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Operators that hand a number, or a shape that depends on data, to the host.
OPERATORS = {
    '_local_scalar_dense', 'is_nonzero', 'equal', 'nonzero', 'masked_select',
    'argwhere', 'unique_dim', '_unique', '_unique2', 'unique_consecutive',
    'repeat_interleave', 'bincount', '_linalg_check_errors',
}
# Ways to the host that run no operator on the CPU.
METHODS = ('item', 'tolist', 'numpy', 'cpu', '__array__', '__float__',
           '__int__', '__bool__', '__index__', '__contains__')


def place() -> str:
    """The innermost line outside torch and this file."""
    for frame in reversed(traceback.extract_stack()):
        if '/torch/' not in frame.filename and frame.filename != __file__:
            return f'{frame.filename}:{frame.lineno} {frame.line}'
    return '?'


class SyncDetector(TorchDispatchMode):
    """Collects such calls while :attr:`on`; a context manager.

    On the CPU nothing waits, but the same calls would on a GPU. Operators are
    seen below Python, too: an ``.item()`` inside C++ is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on = False
        self.found: list[str] = []
        self.methods: dict = {}

    def note(self, name: str) -> None:
        """Keeps a call and where it came from."""
        if self.on:
            self.found.append(f'{name} at {place()}')

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in OPERATORS or (name in ('index', 'index_put_') and any(
                part is not None and part.dtype in (torch.bool, torch.uint8)
                for part in args[1])):
            self.note(name)
        return func(*args, **(kwargs or {}))

    def __enter__(self):
        for name in METHODS:
            self.methods[name] = getattr(Tensor, name)
            setattr(Tensor, name, self.watched(name, self.methods[name]))
        return super().__enter__()

    def __exit__(self, *error):
        for name, method in self.methods.items():
            setattr(Tensor, name, method)
        return super().__exit__(*error)

    def watched(self, name, method):
        """The method, with a note before it."""

        def call(*args, **kwargs):
            self.note(name)
            return method(*args, **kwargs)

        return call
