"""Runner from config, with errors that name what was meant.

MMEngine reports a mistyped class as a ``KeyError`` of some registry and a
mistyped argument as a ``TypeError``; both become a
:class:`~mimplug.errors.ConfigError` with the nearest valid name.
"""
from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from mmengine.config import Config
from mmengine.registry import RUNNERS, Registry, root
from mmengine.runner import Runner

from mimplug import registry
from mimplug.errors import ConfigError, suggest

_MISSING = re.compile(
    r"(?P<type>\S+) is not in the (?P<scope>[\w.-]+)::(?P<name>.+?) registry")
_ARGUMENT = re.compile(r"unexpected keyword argument '(?P<name>\w+)'")


def build_runner(cfg: Config) -> Runner:
    """Returns the runner that the config describes.

    Args:
        cfg (Config): A whole config with ``work_dir``.

    Returns:
        Runner: MMEngine's, or the one named by ``runner_type``.

    Raises:
        ConfigError: A class or argument of the config does not exist.
    """
    with clear_errors():
        if 'runner_type' in cfg:
            return RUNNERS.build(cfg)
        return Runner.from_cfg(cfg)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turns mistyped names in configs into :class:`ConfigError`.

    Wrap the run too: MMEngine builds loaders, loops and optimiser only when
    the training starts.
    """
    try:
        yield
    except KeyError as error:
        message = _explain_type(str(error.args[0] if error.args else ''))
        if message is None:
            raise
        raise ConfigError(message) from error
    except TypeError as error:
        message = _explain_argument(error)
        if message is None:
            raise
        raise ConfigError(message) from error


def _explain_type(text: str) -> str | None:
    """The message for a class that a registry does not hold."""
    match = _MISSING.search(text)
    if match is None:
        return None
    asked, kind = match['type'].strip('\'"'), match['name']
    scopes = _scopes(kind, match['scope'])
    prefix, word = Registry.split_scope_key(asked)
    if prefix is not None and prefix not in scopes:
        return (f'type={asked!r}: no package {prefix!r} with a registry of '
                f'{kind}s; {suggest(prefix, sorted(scopes))}')
    names = _names(scopes, prefix, match['scope'])
    # A class that another package has: its prefix was forgotten.
    near = [word] if word in names else difflib.get_close_matches(
        word, names, n=1, cutoff=0.6)
    hint = (f"did you mean '{names[near[0]]}'?" if near else
            suggest(word, [name for name in names.values()
                            if name.startswith('mimplug.')]))
    return f'type={asked!r}: there is no such {kind}; {hint}'


def _scopes(kind: str, scope: str) -> dict[str, Registry]:
    """Package → its registry of this kind, ours filled."""
    for name, value in vars(root).items():
        if isinstance(value, Registry):
            family = [value, *value.children.values()]
            if any((child.name, child.scope) == (kind, scope)
                   for child in family):
                ours = getattr(registry, name, None)
                if ours is not None:
                    ours.import_from_location()
                return {child.scope: child for child in family}
    return {}


def _names(scopes: dict[str, Registry], prefix: str | None,
           scope: str) -> dict[str, str]:
    """Class → what would have to be written in the place of the type."""
    names = {}
    for place, child in scopes.items():
        if prefix in (None, place):
            # Found without a prefix: the default scope and the root.
            bare = prefix is None and place in (scope, 'mmengine')
            for word in sorted(child.module_dict):
                names[word] = word if bare else f'{place}.{word}'
    return names


def _explain_argument(error: TypeError) -> str | None:
    """The message for an argument that a class of the config lacks."""
    match = _ARGUMENT.search(str(error))
    built = _class_being_built(error.__traceback__)
    if match is None or built is None:
        return None
    name = getattr(built, '__name__', str(built))
    allowed = sorted(_parameters(built))
    return (f'{name} does not take {match["name"]!r}; '
            f'{suggest(match["name"], allowed)}')


def _class_being_built(trace: TracebackType | None) -> Any:
    """What the innermost ``build_from_cfg`` was calling, or None."""
    built = None
    while trace is not None:
        frame = trace.tb_frame
        if frame.f_code.co_name == 'build_from_cfg':
            built = frame.f_locals.get('obj_cls')
        trace = trace.tb_next
    return built


def _parameters(built: Any) -> set[str]:
    """Names of all arguments of a class and its bases, or a function."""
    owners = [built]
    if inspect.isclass(built):
        owners = [vars(base)['__init__'] for base in inspect.getmro(built)
                  if '__init__' in vars(base)]
    names: set[str] = set()
    for owner in owners:
        names |= {one.name for one in
                  inspect.signature(owner).parameters.values()
                  if one.kind in (one.POSITIONAL_OR_KEYWORD,
                                  one.KEYWORD_ONLY)}
    return names - {'self', 'args', 'kwargs'}
