"""The numbers of :class:`mimplug.draws.KeyedRandom` for many views at once."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mimplug.draws import hash_name
from mimplug.draws.bits import fold_array, unit_array

Keys = NDArray[np.uint64]
Rows = NDArray[np.int64]


class ViewDraws:
    """Draws of V views of B images, with the bits of ``KeyedRandom``.

    Rows are view-major: view 0 of all images, then view 1 and so on. Its
    methods are those of ``KeyedRandom`` with one result a row.

    Args:
        images (ndarray): (B,) uint64 keys of the images.
        views (Sequence[int]): Number of each view within its sample.
    """

    def __init__(self, images: Keys, views: Sequence[int]) -> None:
        self._rows = np.concatenate(
            [fold_array(images, view) for view in views])

    def __len__(self) -> int:
        return len(self._rows)

    def uniform(self, name: str, low: ArrayLike = 0.0, high: ArrayLike = 1.0,
                *, n: int = 0, where: Rows | None = None
                ) -> NDArray[np.float64]:
        """One number of [low, high) for each row.

        Args:
            name (str): Name of the draw.
            low (float | ndarray): Lower end, for all rows or for each.
            high (float | ndarray): Upper end.
            n (int): Counter for repeated draws of one name. Defaults to 0.
            where (ndarray, optional): (R,) rows that draw. Defaults to all.

        Returns:
            ndarray: (V B,) or (R,) float64.
        """
        rows = self._rows if where is None else self._rows[where]
        unit = unit_array(fold_array(fold_array(rows, hash_name(name)), n))
        low = np.asarray(low, np.float64)
        return np.asarray(low + (np.asarray(high) - low) * unit)

    def integers(self, name: str, high: NDArray[np.int64], *,
                 where: Rows | None = None) -> NDArray[np.int64]:
        """One integer of 0, …, high for each row; see :meth:`uniform`."""
        unit = self.uniform(name, where=where)
        return np.asarray(unit * (high + 1), np.int64)

    def bernoulli(self, name: str, p: NDArray[np.float64]
                  ) -> NDArray[np.bool_]:
        """True with probability ``p``, one for each row."""
        return np.asarray(self.uniform(name) < p)

    def permutation(self, name: str, length: int) -> NDArray[np.int64]:
        """The numbers 0, …, length - 1 in random order: (V B, length)."""
        keys = fold_array(fold_array(self._rows, hash_name(name)), 0)
        places = fold_array(keys[:, None], np.arange(length))
        return np.argsort(places, axis=1, kind='stable')
