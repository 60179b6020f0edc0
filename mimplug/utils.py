"""The entry points that every OpenMMLab package offers under this name."""
from __future__ import annotations

from importlib import import_module
from itertools import count

from mmengine.config.utils import MODULE2PACKAGE
from mmengine.registry import DefaultScope, Registry

_instances = count()


def allow_config_inheritance() -> None:
    """Lets ``_base_ = 'mimplug::…'`` in configs find our files.

    MMEngine resolves the prefix for packages of its own table only.
    """
    MODULE2PACKAGE.setdefault('mimplug', 'mimplug')


def register_all_modules(init_default_scope: bool = True) -> None:
    """Imports everything that registers a class.

    Types written ``mimplug.X`` are found without it; it is for code that
    builds parts by hand and for tools that expect every OpenMMLab package to
    have it.

    Args:
        init_default_scope (bool): Make ``mmpretrain``, the scope of our
            configs, the default scope. Defaults to True.
    """
    from mimplug import registry

    allow_config_inheritance()
    locations = {
        place for child in vars(registry).values()
        if isinstance(child, Registry)
        for place in child._locations
    }
    for place in sorted(locations):
        import_module(place)
    if not init_default_scope:
        return
    current = DefaultScope.get_current_instance()
    if current is None or current.scope_name != 'mmpretrain':
        DefaultScope.get_instance(
            f'mimplug-{next(_instances)}', scope_name='mmpretrain')
