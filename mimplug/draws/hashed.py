"""Counter-based draws: what training uses."""
from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mimplug.draws.base import Draws, Rows, to_device
from mimplug.draws.bits import (
    fold,
    fold_array,
    fold_tensor,
    hash_name,
    signed,
    unit_array,
    unit_array32,
    unit_float,
    unit_tensor,
)
from mimplug.draws.keyed import SAMPLE
from mimplug.draws.keys import SampleKeys

Keys = NDArray[np.uint64]

BATCH = hash_name('mimplug/batch')
RANK = hash_name('mimplug/rank')
# On a CPU NumPy makes smaller tables faster, with the same bits.
SMALL = 1 << 14


def _integers(unit: ArrayLike, low: ArrayLike, high: ArrayLike
              ) -> NDArray[np.int64]:
    """Maps numbers of [0, 1) to the integers low, …, high."""
    low, span = np.asarray(low), np.asarray(high) - np.asarray(low) + 1
    if np.any(span < 1):
        raise ValueError(f'empty range: low={low!r}, high={high!r}')
    return np.asarray(low + np.floor(np.asarray(unit) * span), np.int64)


class HashDraws(Draws):
    """Draws that are a function of what they are for.

    The key of a row is a hash of (seed, epoch, index, repeat, view); of the
    batch, of (seed, step); of a rank, of (seed, step, rank). A row's numbers
    so depend neither on the other rows of the batch nor on the number of
    workers or processes, and a resumed run repeats them.

    Args:
        seed (int): Seed of the run.
        step (int): Optimiser step, key of the batch and rank draws.
        keys (SampleKeys): The B images of this rank.
        views (Sequence[int]): Key of each of the V views. Defaults to (0,).
        rank (int): Rank of the process, key of the rank draws only.
            Defaults to 0.

    Example:
        >>> draws = HashDraws(0, 10, SampleKeys.arange(4), views=(0, 1))
        >>> draws.rows, draws.row_uniform('ratio', 0.1, 0.5).shape
        (8, (8,))
    """

    def __init__(self, seed: int, step: int, keys: SampleKeys,
                 views: Sequence[int] = (0,), rank: int = 0) -> None:
        super().__init__((len(views), len(keys)))
        if not views:
            raise ValueError('views=(): at least one view is needed')
        self._batch = fold(BATCH, seed, step)
        self._rank = fold(RANK, seed, step, rank)
        image = np.full(len(keys), fold(SAMPLE, seed), np.uint64)
        for words in (keys.epoch, keys.index, keys.repeat):
            image = fold_array(image, words)
        self._image: Keys = image
        self._row: Keys = np.concatenate(
            [fold_array(image, view) for view in views])
        self._named: dict[str, Keys] = {}

    def bind(self, num_views: int, batch_size: int) -> HashDraws:
        if self._size != (num_views, batch_size):
            raise ValueError(
                f'draws are for {self.num_views} views of {self.batch_size} '
                f'images, the batch has {num_views} views of {batch_size}')
        return self

    def for_view(self, view: int) -> HashDraws:
        if not 0 <= view < self.num_views:
            raise ValueError(
                f'view={view}: allowed is 0, …, {self.num_views - 1}')
        batch = self.batch_size
        part = object.__new__(HashDraws)
        part._size = (1, batch)
        part._batch, part._rank = self._batch, self._rank
        part._image = self._image
        part._row = self._row[view * batch:(view + 1) * batch]
        part._named = {}
        return part

    def _row_bits(self, name: str, n: int, where: Rows | None = None) -> Keys:
        """(M,) or (R,) keys of draw ``n`` of a name."""
        keys = self._named.get(name)
        if keys is None:
            keys = self._named[name] = fold_array(self._row, hash_name(name))
        return fold_array(keys if where is None else keys[where], n)

    def _image_unit(self, name: str, n: int) -> NDArray[np.float64]:
        keys = fold_array(self._image, hash_name(name))
        return unit_array(fold_array(keys, n))

    def row_uniform(self, name: str, low: ArrayLike = 0.0,
                    high: ArrayLike = 1.0, *, where: Rows | None = None,
                    n: int = 0) -> NDArray[np.float64]:
        unit = unit_array(self._row_bits(name, n, where))
        low = np.asarray(low, np.float64)
        return np.asarray(low + (np.asarray(high) - low) * unit)

    def row_integers(self, name: str, low: ArrayLike, high: ArrayLike, *,
                     where: Rows | None = None, n: int = 0
                     ) -> NDArray[np.int64]:
        unit = unit_array(self._row_bits(name, n, where))
        return _integers(unit, low, high)

    def image_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> NDArray[np.float64]:
        return low + (high - low) * self._image_unit(name, n)

    def image_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> NDArray[np.int64]:
        return _integers(self._image_unit(name, n), low, high)

    def batch_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> float:
        unit = unit_float(fold(self._batch, hash_name(name), n))
        return low + (high - low) * unit

    def batch_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> int:
        return int(_integers(self.batch_uniform(name, n=n), low, high))

    def rank_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                     *, n: int = 0) -> float:
        unit = unit_float(fold(self._rank, hash_name(name), n))
        return low + (high - low) * unit

    def rank_integers(self, name: str, low: int, high: int, *, n: int = 0
                      ) -> int:
        return int(_integers(self.rank_uniform(name, n=n), low, high))

    def host_uniform(self, name: str, *shape: int, n: int = 0
                     ) -> NDArray[np.float32]:
        keys = self._row_bits(name, n)[:, None]
        places = np.arange(math.prod(shape), dtype=np.int64)
        return unit_array32(fold_array(keys, places)).reshape(
            self.rows, *shape)

    def uniform(self, name: str, *shape: int, device: torch.device | str,
                n: int = 0) -> torch.Tensor:
        device = torch.device(device)
        if device.type == 'cpu' and self.rows * math.prod(shape) <= SMALL:
            return torch.from_numpy(self.host_uniform(name, *shape, n=n))
        keys = to_device(self._row_bits(name, n).view(np.int64), device)
        places = torch.arange(math.prod(shape), device=device)
        table = unit_tensor(fold_tensor(keys[:, None], places))
        return table.reshape(self.rows, *shape)

    def host_batch_table(self, name: str, *shape: int, n: int = 0
                         ) -> NDArray[np.float32]:
        key = np.full(1, fold(self._batch, hash_name(name), n), np.uint64)
        places = np.arange(math.prod(shape), dtype=np.int64)
        return unit_array32(fold_array(key, places)).reshape(shape)

    def batch_table(self, name: str, *shape: int,
                    device: torch.device | str, n: int = 0) -> torch.Tensor:
        key = signed(fold(self._batch, hash_name(name), n))
        places = torch.arange(math.prod(shape), device=device)
        # a key of the host, so that nothing is copied
        table = unit_tensor(fold_tensor(key, places))
        return table.reshape(shape)
