"""Parameter groups of the DINO family, and the linear lr rule."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from mmengine.registry import OPTIM_WRAPPERS as BUILD_WRAPPERS
from mmengine.registry import OPTIMIZERS as BUILD_OPTIMIZERS
from torch import nn
from torch.optim import SGD, Adam
from torch.utils._foreach_utils import (
    _get_fused_kernels_supported_devices as fused_devices,
)

from mimplug.errors import ConfigError, suggest
from mimplug.registry import OPTIM_WRAPPER_CONSTRUCTORS

PARAMWISE_KEYS = ('lr_mult', )


def scaled_lr(lr: float, batch_size: int, *, world_size: int = 1,
              accumulation: int = 1, base_batch_size: int = 256) -> float:
    r"""Linear rule :math:`lr \cdot B W A / 256`.

    Args:
        lr (float): Learning rate for ``base_batch_size`` images a step.
        batch_size (int): B, images a process and micro-batch.
        world_size (int): W, processes. Defaults to 1.
        accumulation (int): A, micro-batches an optimiser step.
            Defaults to 1.
        base_batch_size (int): Images a step that ``lr`` is meant for.
            Defaults to 256.

    Returns:
        float: The rate for this run.

    Source: ``main_attmask.py`` (lr * batch * world / 256); A is ours.
    """
    return lr * batch_size * world_size * accumulation / base_batch_size


def default_fused(optimizer_cfg: Mapping[str, Any],
                  groups: list[dict]) -> bool:
    """Whether to add ``fused=True``: it works, and nobody chose otherwise.

    Fused kernels are the fastest, never wait for the device (plain AdamW
    reads its step count for every tensor), and can skip a step there.

    Args:
        optimizer_cfg (Mapping): ``type`` and arguments.
        groups (list[dict]): Parameter groups.

    Returns:
        bool: True for Adam, AdamW and SGD on a device with such kernels.
    """
    kind = optimizer_cfg.get('type')
    if isinstance(kind, str):
        kind = BUILD_OPTIMIZERS.get(kind)
    # Adam covers AdamW; others' kernels promise no skipping
    if not (inspect.isclass(kind) and issubclass(kind, (Adam, SGD))
            and 'fused' in inspect.signature(kind).parameters):
        return False
    chosen = {'fused', 'foreach', 'differentiable'} & set(optimizer_cfg)
    return not chosen and all(
        parameter.is_floating_point()
        and parameter.device.type in fused_devices()
        for group in groups for parameter in group['params'])


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TwoGroupConstructor:
    """Builds the wrapper with two parameter groups: decayed or not.

    Group ``decay``: trainable parameters of two or more dimensions whose name
    does not end in ``.bias`` (so position embedding, CLS, mask token and
    weight-norm directions **are** decayed). Group ``no_decay``: biases and
    one-dimensional parameters, with weight decay 0. Frozen parameters are
    left out. A factor of ``lr_mult`` splits off groups of its own that carry
    ``lr_mult``, which schedules respect.

    Adam, AdamW and SGD are built with ``fused=True`` unless the config says
    ``fused``, ``foreach`` or ``differentiable`` itself.

    Args:
        optim_wrapper_cfg (dict): ``type``, ``optimizer`` and arguments of the
            wrapper.
        paramwise_cfg (dict, optional): ``dict(lr_mult={'patch_embed': 0.2})``:
            parts of parameter names and their factor on the learning rate.

    Raises:
        ConfigError: Unknown key, a factor that is not positive, or a name
            part that matches nothing.

    Source: ``utils.get_params_groups`` of gkakogeorgiou/attmask;
    ``src/optimizer.py`` of sail-sg/mugs for the factors.
    """

    def __init__(self, optim_wrapper_cfg: dict,
                 paramwise_cfg: dict | None = None) -> None:
        if 'optimizer' not in optim_wrapper_cfg:
            raise ConfigError('optim_wrapper needs the key "optimizer"')
        self.wrapper_cfg = dict(optim_wrapper_cfg)
        self.optimizer_cfg = dict(self.wrapper_cfg.pop('optimizer'))
        paramwise_cfg = paramwise_cfg or {}
        for key in paramwise_cfg:
            if key not in PARAMWISE_KEYS:
                raise ConfigError(f'paramwise_cfg key {key!r}: '
                                  f'{suggest(key, PARAMWISE_KEYS)}')
        self.lr_mult: Mapping[str, float] = paramwise_cfg.get('lr_mult', {})
        for part, factor in self.lr_mult.items():
            if not factor > 0:
                raise ConfigError(
                    f'lr_mult[{part!r}]={factor}: must be > 0; to keep '
                    'parameters still use mimplug.FreezeHook')
        if self.lr_mult and 'lr' not in self.optimizer_cfg:
            raise ConfigError('lr_mult needs optimizer.lr')

    def groups(self, model: nn.Module) -> list[dict]:
        """Parameter groups of a model.

        Args:
            model (nn.Module): The algorithm, wrapped or not.

        Returns:
            list[dict]: ``params``, ``lr_mult``, ``name`` and, where it is 0,
            ``weight_decay``.

        Raises:
            ConfigError: Nothing to train, or a name part without a match.
        """
        groups: dict[tuple[bool, float], dict] = {}
        unmatched = set(self.lr_mult)
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            decay = parameter.ndim >= 2 and not name.endswith('.bias')
            parts = [part for part in self.lr_mult if part in name]
            unmatched.difference_update(parts)
            mult = self.lr_mult[max(parts, key=len)] if parts else 1.0
            group = groups.setdefault((decay, mult), dict(
                params=[], name='decay' if decay else 'no_decay',
                lr_mult=mult))
            group['params'].append(parameter)
        if not groups or unmatched:
            raise ConfigError(
                f'lr_mult: no trainable parameter contains {sorted(unmatched)}'
                if groups else 'the model has no trainable parameters')
        # decayed first, as the reference's group 0
        return [groups[key] for key in sorted(groups, reverse=True)]

    def __call__(self, model: nn.Module) -> Any:
        """Builds optimiser and wrapper.

        Args:
            model (nn.Module): The algorithm, wrapped or not.

        Returns:
            BaseOptimWrapper: The optimiser wrapper.
        """
        groups = self.groups(model)
        lr = self.optimizer_cfg.get('lr')
        for group in groups:
            if group['name'] == 'no_decay':
                group['weight_decay'] = 0.0
            if lr is not None:
                group['lr'] = lr * group['lr_mult']
        optimizer_cfg = dict(self.optimizer_cfg, params=groups)
        if default_fused(self.optimizer_cfg, groups):
            optimizer_cfg['fused'] = True
        optimizer = BUILD_OPTIMIZERS.build(optimizer_cfg)
        cfg = dict(self.wrapper_cfg, optimizer=optimizer)
        cfg.setdefault('type', 'mimplug.OptimWrapper')
        return BUILD_WRAPPERS.build(cfg)
