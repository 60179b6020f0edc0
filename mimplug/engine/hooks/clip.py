"""Clips gradients more tightly from some epoch on."""
from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from mimplug.engine.loops import data_epoch
from mimplug.errors import ConfigError
from mimplug.registry import HOOKS


@HOOKS.register_module()
class ClipHook(Hook):
    """Changes the limit of gradient norms once.

    Until then the limit is ``optim_wrapper.clip_grad``. The limit of an
    iteration follows from its epoch alone, so it survives a resume.

    Args:
        epoch (int): First epoch, 0-based, with the new limit, >= 0; in an
            iteration-based run passes over the data.
        max_norm (float): New limit, > 0.

    Raises:
        ConfigError: A value out of range, or a wrapper that does not clip.

    Source: ``clip_gradients`` in ``src/optimizer.py`` of sail-sg/mugs, which
    divides the limit of ViT-L by 10 where ``epoch > 100``.
    """

    def __init__(self, epoch: int, max_norm: float) -> None:
        if epoch < 0:
            raise ConfigError(f'epoch={epoch}: must be >= 0')
        if not max_norm > 0:
            raise ConfigError(f'max_norm={max_norm}: must be > 0')
        self.epoch = epoch
        self.max_norm = max_norm
        self.first: float | None = None

    def before_train(self, runner: Any) -> None:
        """Looks up the first limit."""
        clip = getattr(runner.optim_wrapper, 'clip', None)
        if clip is None:
            raise ConfigError(
                'ClipHook needs mimplug.OptimWrapper with clip_grad=dict('
                f'max_norm=...), got {type(runner.optim_wrapper).__name__} '
                'without')
        if self.first is None:
            self.first = clip['max_norm']

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Sets the limit of this iteration."""
        late = data_epoch(runner) >= self.epoch
        runner.optim_wrapper.clip['max_norm'] = (
            self.max_norm if late else self.first)
