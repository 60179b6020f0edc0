"""Draws in the order of the reference code, to repeat its masks exactly."""
from __future__ import annotations

import copy
import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimplug.draws.base import Draws, Rows


class PythonRandomDraws(Draws):
    """Python's and NumPy's sequential generators, as iBOT's loader uses them.

    Names and counters are ignored: what counts is the order of the calls.
    :meth:`split` hands out the rows one by one, since the reference finishes
    one mask before it starts the next. For parity with published masks and
    for tests; training uses :class:`mimplug.draws.HashDraws`.

    Args:
        seed (int): Seeds a ``random.Random`` (numbers of rows, images and
            batches) and a ``numpy.random.RandomState`` (tables).

    Source: ``loader.py`` (``ImageFolderMask``) of gkakogeorgiou/attmask.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._python = random.Random(seed)
        self._numpy = np.random.RandomState(seed)

    def bind(self, num_views: int, batch_size: int) -> PythonRandomDraws:
        part = copy.copy(self)
        part._size = (num_views, batch_size)
        return part

    def for_view(self, view: int) -> PythonRandomDraws:
        return self.bind(1, self.batch_size)

    def split(self) -> Sequence[PythonRandomDraws]:
        return [self.bind(1, 1) for _ in range(self.rows)]

    def _count(self, where: Rows | None) -> int:
        return self.rows if where is None else len(where)

    def row_uniform(self, name: str, low: ArrayLike = 0.0,
                    high: ArrayLike = 1.0, *, where: Rows | None = None,
                    n: int = 0) -> NDArray[np.float64]:
        count = self._count(where)
        lows = np.broadcast_to(np.asarray(low, np.float64), (count,))
        highs = np.broadcast_to(np.asarray(high, np.float64), (count,))
        values = [self._python.uniform(a, b)
                  for a, b in zip(lows.tolist(), highs.tolist())]
        return np.array(values, np.float64)

    def row_integers(self, name: str, low: ArrayLike, high: ArrayLike, *,
                     where: Rows | None = None, n: int = 0
                     ) -> NDArray[np.int64]:
        count = self._count(where)
        lows = np.broadcast_to(np.asarray(low, np.int64), (count,))
        highs = np.broadcast_to(np.asarray(high, np.int64), (count,))
        values = [self._python.randint(a, b)
                  for a, b in zip(lows.tolist(), highs.tolist())]
        return np.array(values, np.int64)

    def image_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> NDArray[np.float64]:
        values = [self._python.uniform(low, high)
                  for _ in range(self.batch_size)]
        return np.array(values, np.float64)

    def image_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> NDArray[np.int64]:
        values = [self._python.randint(low, high)
                  for _ in range(self.batch_size)]
        return np.array(values, np.int64)

    def batch_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> float:
        return self._python.uniform(low, high)

    def batch_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> int:
        return self._python.randint(low, high)

    def rank_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                     *, n: int = 0) -> float:
        return self._python.uniform(low, high)

    def rank_integers(self, name: str, low: int, high: int, *, n: int = 0
                      ) -> int:
        return self._python.randint(low, high)

    def host_uniform(self, name: str, *shape: int, n: int = 0
                     ) -> NDArray[np.float32]:
        """The numbers 0, 1/L, …, (L - 1)/L of each row, shuffled.

        Ranking them repeats a mask that the reference gets by shuffling a
        vector of zeros followed by ones: cell i is hidden iff its place
        before the shuffle was among the last ones.
        """
        length = int(np.prod(shape))
        table = np.empty((self.rows, length), np.float32)
        for row in table:
            places = np.arange(length)
            self._numpy.shuffle(places)
            row[:] = places / max(1, length)
        return table.reshape(self.rows, *shape)

    def host_batch_table(self, name: str, *shape: int, n: int = 0
                         ) -> NDArray[np.float32]:
        table: NDArray[np.float32] = self.bind(1, 1).host_uniform(
            name, *shape)[0]
        return table
