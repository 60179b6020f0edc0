"""Errors of mimplug and the helper that names the nearest valid word."""
from __future__ import annotations

import difflib
from collections.abc import Iterable
from numbers import Real


class MimplugError(Exception):
    """Base of every error that mimplug raises on purpose."""


class ConfigError(MimplugError, ValueError):
    """A setting is wrong; raised when the object is built."""


class CheckpointError(MimplugError, RuntimeError):
    """A weight file cannot be read, or does not fit the model."""


class AssetError(MimplugError, RuntimeError):
    """A file that has to be fetched first is missing or damaged."""


class NonFiniteLossError(MimplugError, RuntimeError):
    """Too many optimiser steps in a row had a non-finite loss or gradient."""


class Interrupted(MimplugError):  # noqa: N818 (no error)
    """A signal ended a run in good order: nothing failed.

    Args:
        message (str): What is saved and how to go on; empty where another
            process says it.
        exit_code (int): What the process ends with, e.g. 75 to be started
            again, 130 after Ctrl-C.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def suggest(value: object, allowed: Iterable[object]) -> str:
    """Returns ``"allowed: a, b, c; did you mean 'b'?"`` for a message.

    Args:
        value (object): What the user wrote.
        allowed (Iterable): Every valid value.

    Returns:
        str: The allowed values, and the nearest one if any is close.
    """
    words = [str(word) for word in allowed]
    text = f"allowed: {', '.join(words) or '(nothing)'}"
    near = difflib.get_close_matches(str(value), words, n=1, cutoff=0.5)
    return f"{text}; did you mean '{near[0]}'?" if near else text


def check_choice(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raises :class:`ConfigError` unless ``value`` is one of ``allowed``.

    Args:
        name (str): Name of the argument, for the message.
        value (object): What was given.
        allowed (Iterable): Every valid value.

    Raises:
        ConfigError: Names the argument, the value and the nearest choice.
    """
    choices = list(allowed)
    if value not in choices:
        raise ConfigError(f'{name}={value!r}: {suggest(value, choices)}')


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises :class:`ConfigError` unless ``low <= value <= high``.

    Args:
        name (str): Name of the argument, for the message.
        value (float): What was given.
        low (float): Smallest allowed value.
        high (float): Largest allowed value.

    Raises:
        ConfigError: Names the argument, the value and the range.
    """
    if not isinstance(value, Real) or not low <= value <= high:
        raise ConfigError(f'{name}={value!r}: allowed is [{low}, {high}]')
