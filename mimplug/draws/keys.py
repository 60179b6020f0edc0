"""Which samples a batch holds: the part of a key that the loader knows."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

METAINFO = 'sample_key'


@dataclass(frozen=True, eq=False)
class SampleKeys:
    """Epoch, index and repeat of each image of a batch, on the host.

    Args:
        epoch (ndarray): (B,) epoch, 0-based.
        index (ndarray): (B,) index in the data set.
        repeat (ndarray): (B,) which time the image is seen in this epoch.

    Raises:
        ValueError: If the three are not of one shape (B,), B >= 1.
    """
    epoch: NDArray[np.int64]
    index: NDArray[np.int64]
    repeat: NDArray[np.int64]

    def __post_init__(self) -> None:
        for name in ('epoch', 'index', 'repeat'):
            value = np.asarray(getattr(self, name)).astype(np.int64)
            object.__setattr__(self, name, value)
        shapes = {self.epoch.shape, self.index.shape, self.repeat.shape}
        if len(shapes) > 1 or self.index.ndim != 1 or not self.index.size:
            raise ValueError(
                'sample keys: epoch, index and repeat must have one shape '
                f'(B,) with B >= 1, got {self.epoch.shape}, '
                f'{self.index.shape}, {self.repeat.shape}')

    def __len__(self) -> int:
        return int(self.index.shape[0])

    @classmethod
    def from_data_samples(cls, data_samples: Sequence[Any]) -> SampleKeys:
        """Reads ``sample_key = (epoch, index, repeat)`` of each sample.

        Args:
            data_samples (Sequence[DataSample]): B samples.

        Returns:
            SampleKeys: Keys of the B images.

        Raises:
            ValueError: If a sample has no key.
        """
        found = [getattr(sample, METAINFO, None) for sample in data_samples]
        missing = sum(key is None for key in found)
        if missing:
            raise ValueError(
                f'{missing} of {len(found)} samples have no {METAINFO!r} in '
                'their metainfo')
        table = np.asarray(found, dtype=np.int64)
        if table.shape != (len(found), 3):
            raise ValueError(
                f'{METAINFO!r} must be (epoch, index, repeat) of each '
                f'sample, got an array of shape {table.shape}')
        return cls(epoch=table[:, 0], index=table[:, 1], repeat=table[:, 2])

    @classmethod
    def arange(cls, batch: int, step: int = 0, rank: int = 0) -> SampleKeys:
        """Keys by position, where nothing tells the samples apart.

        Args:
            batch (int): Images on this rank, B >= 1.
            step (int): Counter of batches; stands in for the epoch, so that
                the draws change from batch to batch. Defaults to 0.
            rank (int): Stands in for the repeat, so that ranks differ.
                Defaults to 0.

        Returns:
            SampleKeys: epoch = step, index = 0, …, B - 1, repeat = rank.
        """
        index = np.arange(batch, dtype=np.int64)
        return cls(epoch=np.full_like(index, step), index=index,
                   repeat=np.full_like(index, rank))
