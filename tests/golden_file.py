"""One file of reference arrays.

Not in ``conftest.py``: there are several modules of that name, and a class of
theirs cannot be sent to other processes.
"""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch


class Golden:
    """One file of reference arrays, read by key."""

    def __init__(self, path: Path):
        self.path = path
        with np.load(path, allow_pickle=False) as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def tensor(self, key: str, dtype: torch.dtype | None = None):
        """The array as a tensor."""
        return torch.from_numpy(np.array(self.arrays[key])).to(dtype)

    def scalar(self, key: str):
        """A 0-d array as a Python number or string."""
        return self.arrays[key].item()

    def tree(self, prefix: str, dtype: torch.dtype | None = None):
        """All arrays below ``prefix`` as tensors, the prefix cut off."""
        return {
            key[len(prefix):]: self.tensor(key, dtype)
            for key in self.arrays if key.startswith(prefix)
        }

    def names(self, prefix: str) -> list[str]:
        """First path components below ``prefix``, in file order."""
        return list(dict.fromkeys(
            key[len(prefix):].split('/')[0]
            for key in self.arrays if key.startswith(prefix)))
