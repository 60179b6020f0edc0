"""Renames between two spellings of a network, and their directory."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any

from mimplug.errors import CheckpointError, ConfigError, suggest

from .reader import Tensors

FIELDS = {'i': r'\d+', 'p': r'weight|bias', 'rest': r'.+'}


class Renames:
    """A table of names, read from left to right and from right to left.

    Args:
        pairs (Sequence[tuple[str, str]]): (their name, our name). ``{i}``
            stands for a number, ``{p}`` for ``weight`` or ``bias``,
            ``{rest}`` for any ending; both sides have the same fields. Of
            several rows that fit, the first counts.

    Example:
        >>> names = Renames([('blocks.{i}.norm1.{p}', 'layers.{i}.ln1.{p}')])
        >>> names.to_ours('blocks.3.norm1.bias')
        'layers.3.ln1.bias'
        >>> names.to_theirs('layers.3.ln1.bias')
        'blocks.3.norm1.bias'
    """

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self._ours = [(_pattern(theirs), ours) for theirs, ours in pairs]
        self._theirs = [(_pattern(ours), theirs) for theirs, ours in pairs]

    def to_ours(self, name: str) -> str | None:
        """Our name, or None if the table does not know theirs."""
        return _rename(name, self._ours)

    def to_theirs(self, name: str) -> str | None:
        """Their name, or None if the table does not know ours."""
        return _rename(name, self._theirs)


def _pattern(template: str) -> re.Pattern[str]:
    """Regular expression of a template."""
    parts = [re.escape(text) + (
        f'(?P<{field}>{FIELDS[field]})' if field else '')
        for text, field, _, _ in Formatter().parse(template)]
    return re.compile(''.join(parts))


def _rename(name: str, rules: list[tuple[re.Pattern[str], str]]
            ) -> str | None:
    """The first rule that fits the whole name."""
    for pattern, template in rules:
        found = pattern.fullmatch(name)
        if found:
            return template.format(**found.groupdict())
    return None


def rename_all(tensors: Tensors, rename: Callable[[str], str | None], *,
               keep_unknown: bool = False) -> Tensors:
    """Renames every tensor; the tensors themselves are not touched.

    Args:
        tensors (dict[str, Tensor]): A state dict.
        rename (Callable): Name to name, or to None.
        keep_unknown (bool): Leave names without a rule as they are, so that
            a strict load reports them. Defaults to False.

    Returns:
        dict[str, Tensor]: In the order given.

    Raises:
        CheckpointError: Names without a rule, or two that become one.
    """
    renamed: Tensors = {}
    unknown = []
    for name, tensor in tensors.items():
        new = rename(name)
        if new is None:
            unknown.append(name)
            new = name
        if new in renamed:
            raise CheckpointError(
                f'{name} and another name both become {new}')
        renamed[new] = tensor
    if unknown and not keep_unknown:
        raise CheckpointError(
            f'{len(unknown)} names are not in the table of this key map: '
            f'{", ".join(unknown[:8])}')
    return renamed


Convert = Callable[..., Tensors]


@dataclass(frozen=True)
class KeyMap:
    """Both directions between foreign weights and ours.

    Args:
        name (str): What configs and commands call it.
        read (Callable): ``read(tensors, keep_unknown=False)``: the state
            dict of one network, theirs to ours.
        write (Callable): ``write(tensors, keep_unknown=False)``: ours to
            theirs.
        read_training (Callable, optional): Nested content of a training
            checkpoint to the flat state dict of our algorithm.
        write_training (Callable, optional): The way back.
        training_key (str, optional): Entry that marks such a checkpoint.
    """
    name: str
    read: Convert
    write: Convert
    read_training: Callable[[Mapping[str, Any]], Tensors] | None = None
    write_training: Callable[[Tensors], dict[str, Tensors]] | None = None
    training_key: str | None = None

    def is_training(self, content: Any) -> bool:
        """Whether the content of a file is a whole training checkpoint."""
        return (self.read_training is not None
                and isinstance(content, Mapping)
                and isinstance(content.get(self.training_key), Mapping))


_KEY_MAPS: dict[str, KeyMap] = {}


def register_key_map(key_map: KeyMap) -> KeyMap:
    """Makes a key map known by its name.

    Args:
        key_map (KeyMap): The map; its name must be new.

    Returns:
        KeyMap: The same.

    Raises:
        ConfigError: The name is taken.
    """
    if key_map.name in _KEY_MAPS:
        raise ConfigError(f'key map {key_map.name!r} exists already')
    _KEY_MAPS[key_map.name] = key_map
    return key_map


def get_key_map(name: str) -> KeyMap:
    """The key map of that name.

    Args:
        name (str): E.g. ``'ibot'``.

    Returns:
        KeyMap: The map.

    Raises:
        ConfigError: Unknown name; names the nearest.
    """
    if name not in _KEY_MAPS:
        raise ConfigError(f'converter={name!r}: {suggest(name, _KEY_MAPS)}')
    return _KEY_MAPS[name]


def key_map_names() -> list[str]:
    """Names of all key maps."""
    return sorted(_KEY_MAPS)
