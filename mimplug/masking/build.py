"""Builds parts of a mask from a config, with errors that name the way out."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from mimplug.errors import ConfigError, suggest
from mimplug.registry import SCOPE, TASK_UTILS

Part = TypeVar('Part')


def _names(base: type) -> list[str]:
    """Registered names of the concrete classes below ``base``."""
    return sorted(
        name for name, part in TASK_UTILS.module_dict.items()
        if inspect.isclass(part) and issubclass(part, base))


def build_part(config: object, base: type[Part], what: str) -> Part:
    """Returns an object of class ``base`` from an object or a config.

    Args:
        config (object): An object of the class (returned as it is), or a
            dict with a ``type`` registered in ``TASK_UTILS``, written with
            or without the scope ``mimplug.``.
        base (type): What it must be.
        what (str): The name of the argument, for messages.

    Returns:
        base: The object.

    Raises:
        ConfigError: If the type or an argument is unknown, or the class is
            of another kind.
    """
    if isinstance(config, base):
        return config
    if not isinstance(config, Mapping) or 'type' not in config:
        raise ConfigError(
            f'{what}={config!r}: needs a dict with a type; '
            f'{suggest("", _names(base))}')
    kind = config['type']
    part = TASK_UTILS.get(kind) if isinstance(kind, str) else kind
    if part is None or not issubclass(part, base):
        short = str(kind).removeprefix(f'{SCOPE}.')
        raise ConfigError(
            f'{what}: type={kind!r} is unknown or of another kind; '
            f'{suggest(short, _names(base))}')
    built: Part = _construct(part, config, what)
    return built


def _construct(part: type[Part], config: Mapping[str, Any], what: str
               ) -> Part:
    """Builds through the registry after a look at the argument names."""
    given = set(config) - {'type', '_scope_'}
    parameters = inspect.signature(part).parameters
    for name in sorted(given - set(parameters)):
        raise ConfigError(
            f'{what}: {part.__name__} has no argument {name!r}; '
            f'{suggest(name, parameters)}')
    missing = [name for name, parameter in parameters.items()
               if parameter.default is inspect.Parameter.empty
               and name not in given]
    if missing:
        raise ConfigError(
            f'{what}: {part.__name__} needs {", ".join(missing)}')
    # A bare type name would be searched in the default scope otherwise.
    built: Part = TASK_UTILS.build({'_scope_': SCOPE, **config})
    return built
