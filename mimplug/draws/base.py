"""The interface of every source of random numbers for a batch."""
from __future__ import annotations

import abc
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

Rows = NDArray[np.int64]


def to_device(array: NDArray, device: torch.device) -> torch.Tensor:
    """Copies a host array to a device without waiting for the device.

    Args:
        array (ndarray): Any shape; uint64 is not supported by torch, pass
            its int64 view.
        device (torch.device): Target.

    Returns:
        Tensor: Same shape and type. On the CPU it may share the memory.
    """
    tensor = torch.from_numpy(np.require(array, requirements=['C', 'W']))
    if device.type != 'cuda':
        return tensor.to(device)
    # From pageable memory even an asynchronous copy may wait for the stream.
    return tensor.pin_memory().to(device, non_blocking=True)


def normal_from_uniform(first: torch.Tensor, second: torch.Tensor,
                        shape: Sequence[int]) -> torch.Tensor:
    r"""Returns normal numbers of uniform ones (Box and Muller).

    .. math:: x = \sqrt{-2 \ln(1 - u)} \cos 2 \pi v, \quad
        y = \sqrt{-2 \ln(1 - u)} \sin 2 \pi v

    Args:
        first (Tensor): (M, R) u in [0, 1).
        second (Tensor): (M, R) v in [0, 1).
        shape (Sequence[int]): Shape of the result of one row, at most 2 R
            numbers: first all x, then all y.

    Returns:
        Tensor: (M, \*shape), mean 0, standard deviation 1; no number is
        farther from 0 than 5.8.
    """
    length = torch.log1p(-first).mul_(-2).sqrt_()
    angle = second * (2 * math.pi)
    both = torch.cat((length * angle.cos(), length * angle.sin()), 1)
    return both[:, :math.prod(shape)].reshape(len(first), *shape)


class Draws(abc.ABC):
    """Random numbers of one batch of B images in V views.

    There are M = V B rows, view-major: view 0 of all images, then view 1 and
    so on. Host draws are NumPy and cost no device synchronisation; device
    draws are born where they are used. Each draw has a *name*, and a counter
    ``n`` where a name is used repeatedly.

    =================  ==========  ======================================
    method             returns     the value is shared by
    =================  ==========  ======================================
    ``row_uniform``    (M,)        nothing: one for each view of an image
    ``image_uniform``  (B,)        the views of an image
    ``batch_uniform``  float       the whole batch, on all ranks
    ``rank_uniform``   float       the batch of one rank
    =================  ==========  ======================================

    ``*_integers`` are the same for integers of a closed range. ``*_normal``
    are tables of normal numbers.
    """

    def __init__(self, size: tuple[int, int] | None = None) -> None:
        self._size = size

    @property
    def num_views(self) -> int:
        """V, the number of views."""
        return self._sizes()[0]

    @property
    def batch_size(self) -> int:
        """B, the number of images on this rank."""
        return self._sizes()[1]

    @property
    def rows(self) -> int:
        """M = V B, the number of rows."""
        num_views, batch_size = self._sizes()
        return num_views * batch_size

    def _sizes(self) -> tuple[int, int]:
        if self._size is None:
            raise ValueError(
                f'{type(self).__name__} does not know the batch yet; use '
                'draws.bind(num_views, batch_size), as MaskContext does')
        return self._size

    @abc.abstractmethod
    def bind(self, num_views: int, batch_size: int) -> Draws:
        """Returns these draws for a batch of a given size.

        Args:
            num_views (int): V.
            batch_size (int): B.

        Raises:
            ValueError: If the draws were made for another size.
        """

    @abc.abstractmethod
    def for_view(self, view: int) -> Draws:
        """Returns the draws of the B rows of one view.

        Args:
            view (int): Position of the view, 0 <= view < V.
        """

    def split(self) -> Sequence[Draws]:
        """Parts to be worked off one after the other, in row order.

        One part with all rows, unless the numbers come from a sequence, in
        which a row must take all of its numbers before the next row starts.
        """
        return [self]

    @abc.abstractmethod
    def row_uniform(self, name: str, low: ArrayLike = 0.0,
                    high: ArrayLike = 1.0, *, where: Rows | None = None,
                    n: int = 0) -> NDArray[np.float64]:
        """One number of [low, high) for each row.

        Args:
            name (str): Name of the draw.
            low (float | ndarray): Lower end, for all rows or for each.
            high (float | ndarray): Upper end; may lie below ``low``.
            where (ndarray, optional): (R,) indices of the rows that draw,
                all by default. ``low`` and ``high`` are then (R,) too.
            n (int): Counter. Defaults to 0.

        Returns:
            ndarray: (M,) or (R,) float64.
        """

    @abc.abstractmethod
    def row_integers(self, name: str, low: ArrayLike, high: ArrayLike, *,
                     where: Rows | None = None, n: int = 0
                     ) -> NDArray[np.int64]:
        """One integer of low, …, high for each row; see `row_uniform`."""

    @abc.abstractmethod
    def image_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> NDArray[np.float64]:
        """One number of [low, high) for each image: (B,) float64."""

    @abc.abstractmethod
    def image_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> NDArray[np.int64]:
        """One integer of low, …, high for each image: (B,) int64."""

    @abc.abstractmethod
    def batch_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                      *, n: int = 0) -> float:
        """A number of [low, high), the same on every rank."""

    @abc.abstractmethod
    def batch_integers(self, name: str, low: int, high: int, *, n: int = 0
                       ) -> int:
        """An integer of low, …, high, the same on every rank."""

    @abc.abstractmethod
    def rank_uniform(self, name: str, low: float = 0.0, high: float = 1.0,
                     *, n: int = 0) -> float:
        """A number of [low, high), another one on every rank."""

    @abc.abstractmethod
    def rank_integers(self, name: str, low: int, high: int, *, n: int = 0
                      ) -> int:
        """An integer of low, …, high, another one on every rank."""

    @abc.abstractmethod
    def host_uniform(self, name: str, *shape: int, n: int = 0
                     ) -> NDArray[np.float32]:
        """A table of numbers of [0, 1) for each row, on the host.

        Args:
            name (str): Name of the draw.
            shape (int): Shape of the table of one row.
            n (int): Counter. Defaults to 0.

        Returns:
            ndarray: (M, \\*shape) float32, the bits of :meth:`uniform`.
        """

    def uniform(self, name: str, *shape: int, device: torch.device | str,
                n: int = 0) -> torch.Tensor:
        """A table of numbers of [0, 1) for each row, on a device.

        Args:
            name (str): Name of the draw.
            shape (int): Shape of the table of one row.
            device (torch.device | str): Where the numbers are needed.
            n (int): Counter. Defaults to 0.

        Returns:
            Tensor: (M, \\*shape) float32.
        """
        table = self.host_uniform(name, *shape, n=n)
        return to_device(table, torch.device(device))

    @abc.abstractmethod
    def host_batch_table(self, name: str, *shape: int, n: int = 0
                         ) -> NDArray[np.float32]:
        """A table of numbers of [0, 1), the same on every rank, on the host.

        Args:
            name (str): Name of the draw.
            shape (int): Shape of the table.
            n (int): Counter. Defaults to 0.

        Returns:
            ndarray: \\*shape, float32, the bits of :meth:`batch_table`.
        """

    def batch_table(self, name: str, *shape: int,
                    device: torch.device | str, n: int = 0) -> torch.Tensor:
        """A table of numbers of [0, 1), the same on every rank, on a device.

        Args:
            name (str): Name of the draw.
            shape (int): Shape of the table.
            device (torch.device | str): Where the numbers are needed.
            n (int): Counter. Defaults to 0.

        Returns:
            Tensor: \\*shape, float32.
        """
        table = self.host_batch_table(name, *shape, n=n)
        return to_device(table, torch.device(device))

    def normal(self, name: str, *shape: int, device: torch.device | str,
               n: int = 0) -> torch.Tensor:
        """A table of standard normal numbers for each row, on a device.

        Args:
            name (str): Name of the draw.
            shape (int): Shape of the table of one row.
            device (torch.device | str): Where the numbers are needed.
            n (int): Counter. Defaults to 0.

        Returns:
            Tensor: (M, \\*shape) float32. The uniform numbers behind it have
            the same bits on every device; logarithm and cosine may differ in
            the last one.
        """
        half = -(-math.prod(shape) // 2)
        uniform = self.uniform(name, 2, half, device=device, n=n)
        return normal_from_uniform(uniform[:, 0], uniform[:, 1], shape)

    def batch_normal(self, name: str, *shape: int,
                     device: torch.device | str, n: int = 0) -> torch.Tensor:
        """A table of standard normal numbers, the same on every rank.

        Args:
            name (str): Name of the draw.
            shape (int): Shape of the table.
            device (torch.device | str): Where the numbers are needed.
            n (int): Counter. Defaults to 0.

        Returns:
            Tensor: \\*shape, float32; see :meth:`normal`.
        """
        half = -(-math.prod(shape) // 2)
        uniform = self.batch_table(name, 2, half, device=device, n=n)
        return normal_from_uniform(uniform[:1], uniform[1:], shape)[0]
