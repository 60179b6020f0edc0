"""Compiles transformer blocks one by one."""
from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import nn

from mimplug.errors import ConfigError, check_choice
from mimplug.evaluation import bare_model
from mimplug.registry import HOOKS

MODULES = ('*.layers.*', '*head.mlp')
# Modes with CUDA graphs reuse the memory of a block's output for the next
# block, which a block-wise compiled network still needs for its backward.
MODES = (None, 'default', 'max-autotune-no-cudagraphs')
# Student and teacher, global and local views, with attention, on requested
# tokens, in evaluation: each is a graph of its own; torch's limit is 8.
RECOMPILE_LIMIT = 64


def compile_blocks(model: nn.Module, modules: Sequence[str] = MODULES,
                   **options: Any) -> list[str]:
    """Compiles the outermost modules that match; names and keys stay.

    Args:
        model (nn.Module): The algorithm, not its distributed wrapper.
        modules (Sequence[str]): Patterns of module names; ``*`` stands for
            any characters.
        **options: Of ``torch.compile``.

    Returns:
        list[str]: Names of the compiled modules.

    Raises:
        ConfigError: A pattern that matches no module.
    """
    found: dict[str, nn.Module] = {}
    unused = set(modules)
    for name, module in model.named_modules():
        hits = {pattern for pattern in modules if fnmatch(name, pattern)}
        unused -= hits
        if hits and not any(name.startswith(f'{outer}.') for outer in found):
            found[name] = module
    if unused:
        raise ConfigError(
            f'CompileHook: no module matches {sorted(unused)} in '
            f'{type(model).__name__}; patterns are like {MODULES[0]!r}')
    for module in model.modules():
        if hasattr(module, 'skip_dropped'):
            module.skip_dropped = False  # type: ignore[assignment]
    config = torch._dynamo.config
    config.recompile_limit = max(config.recompile_limit, RECOMPILE_LIMIT)
    for module in found.values():
        module.compile(**options)
    return list(found)


@HOOKS.register_module()
class CompileHook(Hook):
    """``torch.compile`` for each transformer block and head on its own.

    Blocks of one kind share their compiled code, so the time to the first
    step does not grow with the depth, and what lies between the blocks
    (masks, indices, losses, schedules) stays plain Python. MMEngine's
    ``cfg.compile`` would compile the whole ``train_step``; it is refused
    beside this hook. Names of modules and parameters stay as they are.

    Stochastic depth goes back to multiplying dropped rows by 0 (the
    backbone's ``skip_dropped=False``): kernels are compiled for one shape.

    Args:
        backend (str): Of ``torch.compile``. Defaults to ``'inductor'``.
        mode (str, optional): None, ``'default'`` or
            ``'max-autotune-no-cudagraphs'``; for ``'inductor'`` only.
            Defaults to None.
        dynamic (bool, optional): None: a dimension that changes (hidden
            tokens) is compiled as dynamic from its second value on.
            Defaults to None.
        modules (Sequence[str]): Patterns of the names of the modules to
            compile, the outermost match counts. Defaults to
            ``('*.layers.*', '*head.mlp')``: blocks and head MLPs of student
            and teacher.

    Raises:
        ConfigError: An unknown backend or mode, no module to compile, or
            ``cfg.compile`` set as well.
    """

    priority = 'VERY_HIGH'

    def __init__(self, backend: str = 'inductor', mode: str | None = None,
                 dynamic: bool | None = None,
                 modules: Sequence[str] = MODULES) -> None:
        check_choice('backend', backend,
                     torch._dynamo.list_backends(exclude_tags=()))
        check_choice('mode', mode, MODES)
        if mode is not None and backend != 'inductor':
            raise ConfigError(
                f"mode={mode!r}: only for backend='inductor', got "
                f'backend={backend!r}')
        if isinstance(modules, str):
            raise ConfigError(f'modules={modules!r}: must be a list of names')
        self.options = dict(backend=backend, mode=mode, dynamic=dynamic)
        self.modules = tuple(modules)

    def before_run(self, runner: Any) -> None:
        """Marks the modules; they compile when they first run."""
        if runner.cfg.get('compile', False):
            raise ConfigError(
                'cfg.compile compiles the whole train_step; leave it out '
                'when CompileHook is among the hooks')
        names = compile_blocks(
            bare_model(runner.model), self.modules, **self.options)
        runner.logger.info(
            'CompileHook: %d modules (%s, …), dropped rows are no longer '
            'skipped', len(names), names[0])
