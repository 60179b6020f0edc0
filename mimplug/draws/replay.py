"""Draws with known results: arrays of a reference, or a test's own."""
from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mimplug.draws.base import Draws, Rows
from mimplug.errors import suggest


class ReplayDraws(Draws):
    """Returns given values instead of random ones.

    A value is the *result* of the draw; the range that the caller asks for
    does not change it. Draw ``n > 0`` of a name is stored as ``'name/n'``.

    Args:
        values (Mapping[str, ArrayLike]): Name -> a scalar, or an array with
            one entry for each row (row draws and tables) or for each image
            (image draws). A scalar stands for all rows or images.

    Example:
        >>> draws = ReplayDraws({'ratio': 0.3}).bind(2, 2)
        >>> draws.row_uniform('ratio', 0.1, 0.5).tolist()
        [0.3, 0.3, 0.3, 0.3]
    """

    def __init__(self, values: Mapping[str, ArrayLike | torch.Tensor]
                 ) -> None:
        super().__init__()
        self._values = {
            name: np.asarray(value) for name, value in values.items()}
        self._view = slice(None)

    def bind(self, num_views: int, batch_size: int) -> ReplayDraws:
        if self._size not in (None, (num_views, batch_size)):
            raise ValueError(
                f'draws are bound to {self.num_views} views of '
                f'{self.batch_size} images, the batch has {num_views} views '
                f'of {batch_size}')
        return self._sized(num_views, batch_size)

    def for_view(self, view: int) -> ReplayDraws:
        batch = self.batch_size
        if not 0 <= view < self.num_views:
            raise ValueError(
                f'view={view}: allowed is 0, …, {self.num_views - 1}')
        part = self._sized(1, batch)
        start = (self._view.start or 0) + view * batch
        part._view = slice(start, start + batch)
        return part

    def _sized(self, num_views: int, batch_size: int) -> ReplayDraws:
        part = copy.copy(self)
        part._size = (num_views, batch_size)
        return part

    def _get(self, name: str, n: int) -> NDArray:
        key = f'{name}/{n}' if n else name
        if key not in self._values:
            raise KeyError(
                f'no value to replay for the draw {key!r}: '
                f'{suggest(key, self._values)}')
        return self._values[key]

    def _leading(self, name: str, n: int, count: int, of_rows: bool
                 ) -> NDArray:
        """The value with a leading axis of ``count``, scalars repeated."""
        value = self._get(name, n)
        if value.ndim == 0:
            return np.full(count, value)
        value = value[self._view] if of_rows else value
        if len(value) != count:
            raise ValueError(
                f'the draw {name!r} needs {count} values, got an array of '
                f'shape {value.shape}')
        return value

    def _rows(self, name: str, n: int, where: Rows | None) -> NDArray:
        value = self._leading(name, n, self.rows, True)
        return value if where is None else value[where]

    def row_uniform(self, name: str, low: ArrayLike = 0.0,
                    high: ArrayLike = 1.0, *, where: Rows | None = None,
                    n: int = 0) -> NDArray[np.float64]:
        return self._rows(name, n, where).astype(np.float64)

    def row_integers(self, name: str, low: ArrayLike, high: ArrayLike, *,
                     where: Rows | None = None, n: int = 0
                     ) -> NDArray[np.int64]:
        return self._rows(name, n, where).astype(np.int64)

    def image_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> NDArray[np.float64]:
        value = self._leading(name, n, self.batch_size, False)
        return value.astype(np.float64)

    def image_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> NDArray[np.int64]:
        value = self._leading(name, n, self.batch_size, False)
        return value.astype(np.int64)

    def batch_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> float:
        return float(self._get(name, n))

    def batch_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> int:
        return int(self._get(name, n))

    def rank_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                     *, n: int = 0) -> float:
        return float(self._get(name, n))

    def rank_integers(self, name: str, low: int, high: int, *, n: int = 0
                      ) -> int:
        return int(self._get(name, n))

    def host_uniform(self, name: str, *shape: int, n: int = 0
                     ) -> NDArray[np.float32]:
        value = self._leading(name, n, self.rows, True)
        if value.shape != (self.rows, *shape):
            raise ValueError(
                f'the draw {name!r} needs shape {(self.rows, *shape)}, got '
                f'{value.shape}')
        return value.astype(np.float32)

    def host_batch_table(self, name: str, *shape: int, n: int = 0
                         ) -> NDArray[np.float32]:
        value = self._get(name, n)
        if value.shape != shape:
            raise ValueError(
                f'the draw {name!r} needs shape {shape}, got {value.shape}')
        return value.astype(np.float32)

    def normal(self, name: str, *shape: int, device: torch.device | str,
               n: int = 0) -> torch.Tensor:
        return self.uniform(name, *shape, device=device, n=n)

    def batch_normal(self, name: str, *shape: int,
                     device: torch.device | str, n: int = 0) -> torch.Tensor:
        return self.batch_table(name, *shape, device=device, n=n)
