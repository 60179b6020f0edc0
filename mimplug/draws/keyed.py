"""Draws of one sample, for transforms in the workers of a loader."""
from __future__ import annotations

from mimplug.draws.bits import fold, hash_name, unit_float

# Separates the keys of samples from those of batches and ranks.
SAMPLE = hash_name('mimplug/sample')


class KeyedRandom:
    """Random numbers of one view of one sample, in pure Python.

    A value is a function of (seed, epoch, index, repeat, view, name, n): the
    order of the calls, the worker and the number of processes do not matter,
    and asking twice gives the same value twice. The bits are those of
    :class:`mimplug.draws.HashDraws` for the same row.

    Args:
        seed (int): Seed of the run.
        epoch (int): Epoch, 0-based.
        index (int): Index of the sample in the data set.
        repeat (int): Which time the sample is seen in this epoch (repeated
            augmentation). Defaults to 0.
        view (int): Which view (crop) of the sample. Defaults to 0.

    Example:
        >>> random = KeyedRandom(seed=0, epoch=3, index=17)
        >>> random.uniform('scale') == random.uniform('scale')
        True
        >>> random.uniform('scale') == random.for_view(1).uniform('scale')
        False
    """

    __slots__ = ('_image', '_key', 'view')

    def __init__(self, seed: int, epoch: int, index: int, repeat: int = 0,
                 view: int = 0) -> None:
        self._image = fold(SAMPLE, seed, epoch, index, repeat)
        self._key = fold(self._image, view)
        self.view = view

    @property
    def image_key(self) -> int:
        """64-bit key of the sample, equal for all of its views."""
        return self._image

    def for_view(self, view: int) -> KeyedRandom:
        """Returns the draws of another view of the same sample."""
        other = object.__new__(KeyedRandom)
        other._image = self._image
        other._key = fold(self._image, view)
        other.view = view
        return other

    def uniform(self, name: str, low: float = 0.0, high: float = 1.0, *,
                n: int = 0) -> float:
        """Returns a number of [low, high).

        Args:
            name (str): Name of the draw.
            low (float): Lower end. Defaults to 0.
            high (float): Upper end, may be below ``low``. Defaults to 1.
            n (int): Counter for repeated draws of one name. Defaults to 0.

        Returns:
            float: ``low + (high - low) u`` with u uniform on [0, 1).
        """
        bits = fold(self._key, hash_name(name), n)
        return low + (high - low) * unit_float(bits)

    def integers(self, name: str, low: int, high: int, *, n: int = 0) -> int:
        """Returns an integer of low, …, high, both included.

        Args:
            name (str): Name of the draw.
            low (int): Smallest value.
            high (int): Largest value, >= low.
            n (int): Counter for repeated draws of one name. Defaults to 0.

        Raises:
            ValueError: If ``high < low``.
        """
        if high < low:
            raise ValueError(f'draw {name!r}: empty range [{low}, {high}]')
        # u <= 1 - 2**-53, so u * span never rounds up to span.
        return low + int(self.uniform(name, n=n) * (high - low + 1))

    def bernoulli(self, name: str, p: float, *, n: int = 0) -> bool:
        """Returns True with probability ``p`` (never for 0, always for 1)."""
        return self.uniform(name, n=n) < p

    def choice(self, name: str, n_choices: int, *, n: int = 0) -> int:
        """Returns an index of range(n_choices).

        Args:
            name (str): Name of the draw.
            n_choices (int): Number of choices, >= 1.
            n (int): Counter for repeated draws of one name. Defaults to 0.
        """
        return self.integers(name, 0, n_choices - 1, n=n)

    def permutation(self, name: str, length: int, *, n: int = 0) -> list[int]:
        """Returns the numbers 0, …, length - 1 in random order.

        Args:
            name (str): Name of the draw.
            length (int): How many numbers, >= 0.
            n (int): Counter for repeated draws of one name. Defaults to 0.
        """
        key = fold(self._key, hash_name(name), n)
        return sorted(range(length), key=lambda place: fold(key, place))
