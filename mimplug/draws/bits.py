"""SplitMix64 as a hash: the same bits in Python, NumPy and torch.

A *key* is a 64-bit word. Folding a word into a key gives the next key:

.. math:: fold(key, word) = mix(key + (word + 1)\\, \\gamma) \\bmod 2^{64}

which is output number ``word`` of a SplitMix64 generator started at ``key``.
A value is read off a key that names it completely (seed, sample, view, name,
counter), so nothing has to be drawn before it and nothing is remembered.

Source: G. Steele et al., "Fast splittable pseudorandom number generators",
OOPSLA 2014 (the constants of ``mix`` are those of SplitMix64).
"""
from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15
FACTORS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
SHIFTS = (30, 27, 31)
UNIT_53 = 2.0**-53
UNIT_24 = 2.0**-24


def signed(word: int) -> int:
    """The int64 with the bits of an unsigned word.

    Args:
        word (int): In [0, 2**64).
    """
    return word - (1 << 64) if word >> 63 else word


_GAMMA_SIGNED = signed(GAMMA)
_FACTORS_SIGNED = tuple(signed(word) for word in FACTORS)
_GAMMA_NUMPY = np.uint64(GAMMA)
_FACTORS_NUMPY = tuple(np.uint64(word) for word in FACTORS)
_SHIFTS_NUMPY = tuple(np.uint64(shift) for shift in SHIFTS)


@lru_cache(maxsize=4096)
def hash_name(name: str) -> int:
    """A 64-bit word for a name, the same in every process and version.

    Args:
        name (str): Name of a draw.

    Returns:
        int: In [0, 2**64). Python's own ``hash`` changes from run to run.

    Example:
        >>> hash_name('flip') == hash_name('flip') != hash_name('flop')
        True
    """
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little')


def fold(key: int, *words: int) -> int:
    """Folds integers into a key, one after the other (pure Python).

    Args:
        key (int): 64-bit key.
        words (int): Any integers; taken modulo 2**64.

    Returns:
        int: The new key in [0, 2**64).
    """
    for word in words:
        key = (key + (word + 1) * GAMMA) & MASK
        key = ((key ^ (key >> SHIFTS[0])) * FACTORS[0]) & MASK
        key = ((key ^ (key >> SHIFTS[1])) * FACTORS[1]) & MASK
        key ^= key >> SHIFTS[2]
    return key


def as_words(values: NDArray[np.integer]) -> NDArray[np.uint64]:
    """Integers as unsigned 64-bit words, negative ones modulo 2**64."""
    return values.astype(np.int64, copy=False).view(np.uint64)


def fold_array(keys: NDArray[np.uint64],
               words: NDArray[np.integer] | int) -> NDArray[np.uint64]:
    """:func:`fold` of one word, elementwise with broadcasting (NumPy).

    Args:
        keys (ndarray): uint64 keys, any shape with at least one axis.
        words (ndarray | int): Integers to fold in.

    Returns:
        ndarray: uint64 keys in the broadcast shape.
    """
    step: NDArray[np.uint64] | np.uint64
    if isinstance(words, int):
        step = np.uint64((words + 1) * GAMMA & MASK)
    else:
        step = (as_words(words) + np.uint64(1)) * _GAMMA_NUMPY
    mixed = np.asarray(keys + step)
    mixed ^= mixed >> _SHIFTS_NUMPY[0]
    mixed *= _FACTORS_NUMPY[0]
    mixed ^= mixed >> _SHIFTS_NUMPY[1]
    mixed *= _FACTORS_NUMPY[1]
    mixed ^= mixed >> _SHIFTS_NUMPY[2]
    return mixed


def _shift(keys: torch.Tensor, places: int) -> torch.Tensor:
    """Logical right shift; torch's own one on int64 copies the sign."""
    return (keys >> places) & ((1 << (64 - places)) - 1)


def fold_tensor(keys: torch.Tensor | int, words: torch.Tensor) -> torch.Tensor:
    """:func:`fold` of one word, elementwise with broadcasting (torch).

    Args:
        keys (Tensor | int): int64; the bits are those of the unsigned key.
        words (Tensor): int64 integers to fold in.

    Returns:
        Tensor: int64 keys in the broadcast shape, on the same device.
    """
    mixed = keys + (words + 1) * _GAMMA_SIGNED
    mixed = (mixed ^ _shift(mixed, SHIFTS[0])) * _FACTORS_SIGNED[0]
    mixed = (mixed ^ _shift(mixed, SHIFTS[1])) * _FACTORS_SIGNED[1]
    return mixed ^ _shift(mixed, SHIFTS[2])


def unit_float(key: int) -> float:
    """The upper 53 bits of a key as a float in [0, 1)."""
    return (key >> 11) * UNIT_53


def unit_array(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """The upper 53 bits of each key as a float64 in [0, 1)."""
    return (keys >> np.uint64(11)).astype(np.float64) * UNIT_53


def unit_array32(keys: NDArray[np.uint64]) -> NDArray[np.float32]:
    """The upper 24 bits of each key as a float32 in [0, 1)."""
    return (keys >> np.uint64(40)).astype(np.float32) * np.float32(UNIT_24)


def unit_tensor(keys: torch.Tensor) -> torch.Tensor:
    """The upper 24 bits of each int64 key as a float32 in [0, 1)."""
    return _shift(keys, 40).to(torch.float32) * UNIT_24
