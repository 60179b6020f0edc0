"""Some rows of other draws, as one view."""
from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mimplug.draws.base import Draws, Rows, to_device


class PickedDraws(Draws):
    """The draws of chosen rows: each row keeps the numbers it had.

    The rows count as images of a single view, so that anything that works on
    a batch works on a part of it that is no whole view.

    Args:
        draws (Draws): Bound to the whole batch.
        rows (ndarray): (R,) int64, indices of rows, at least one.

    Example:
        >>> from mimplug.draws import HashDraws, SampleKeys
        >>> draws = HashDraws(0, 0, SampleKeys.arange(3), views=(0, 1))
        >>> part = PickedDraws(draws, np.array([4, 1]))
        >>> bool((part.row_uniform('a') == draws.row_uniform('a')[[4, 1]]
        ...       ).all())
        True
    """

    def __init__(self, draws: Draws, rows: Rows) -> None:
        super().__init__((1, len(rows)))
        self._draws, self._picked = draws, np.asarray(rows, np.int64)
        self._images = self._picked % draws.batch_size

    def bind(self, num_views: int, batch_size: int) -> PickedDraws:
        if self._size != (num_views, batch_size):
            raise ValueError(
                f'draws are for {self.batch_size} picked rows, the batch has '
                f'{num_views} views of {batch_size} images')
        return self

    def for_view(self, view: int) -> PickedDraws:
        if view != 0:
            raise ValueError(f'view={view}: picked rows are a single view')
        return self

    def _where(self, where: Rows | None) -> Rows:
        return self._picked if where is None else self._picked[where]

    def row_uniform(self, name: str, low: ArrayLike = 0.0,
                    high: ArrayLike = 1.0, *, where: Rows | None = None,
                    n: int = 0) -> NDArray[np.float64]:
        return self._draws.row_uniform(
            name, low, high, where=self._where(where), n=n)

    def row_integers(self, name: str, low: ArrayLike, high: ArrayLike, *,
                     where: Rows | None = None, n: int = 0
                     ) -> NDArray[np.int64]:
        return self._draws.row_integers(
            name, low, high, where=self._where(where), n=n)

    def image_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> NDArray[np.float64]:
        return self._draws.image_uniform(name, low, high, n=n)[self._images]

    def image_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> NDArray[np.int64]:
        return self._draws.image_integers(name, low, high, n=n)[self._images]

    def batch_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> float:
        return self._draws.batch_uniform(name, low, high, n=n)

    def batch_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> int:
        return self._draws.batch_integers(name, low, high, n=n)

    def rank_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                     *, n: int = 0) -> float:
        return self._draws.rank_uniform(name, low, high, n=n)

    def rank_integers(self, name: str, low: int, high: int, *, n: int = 0
                      ) -> int:
        return self._draws.rank_integers(name, low, high, n=n)

    def host_uniform(self, name: str, *shape: int, n: int = 0
                     ) -> NDArray[np.float32]:
        return self._draws.host_uniform(name, *shape, n=n)[self._picked]

    def uniform(self, name: str, *shape: int, device: torch.device | str,
                n: int = 0) -> torch.Tensor:
        table = self._draws.uniform(name, *shape, device=device, n=n)
        return table[to_device(self._picked, table.device)]

    def host_batch_table(self, name: str, *shape: int, n: int = 0
                         ) -> NDArray[np.float32]:
        return self._draws.host_batch_table(name, *shape, n=n)

    def batch_table(self, name: str, *shape: int,
                    device: torch.device | str, n: int = 0) -> torch.Tensor:
        return self._draws.batch_table(name, *shape, device=device, n=n)

    def normal(self, name: str, *shape: int, device: torch.device | str,
               n: int = 0) -> torch.Tensor:
        table = self._draws.normal(name, *shape, device=device, n=n)
        return table[to_device(self._picked, table.device)]

    def batch_normal(self, name: str, *shape: int,
                     device: torch.device | str, n: int = 0) -> torch.Tensor:
        return self._draws.batch_normal(name, *shape, device=device, n=n)
