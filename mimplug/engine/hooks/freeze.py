"""Keeps parameters still at the beginning of a run."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook

from mimplug.engine.loops import data_epoch
from mimplug.errors import ConfigError
from mimplug.evaluation import bare_model
from mimplug.registry import HOOKS


@HOOKS.register_module()
class FreezeHook(Hook):
    """Drops the gradients of named parameters during the first epochs.

    Gradients are dropped after clipping and before the optimiser step
    (:meth:`mimplug.OptimWrapper.freeze`), so the optimiser neither decays nor
    counts these parameters.

    Args:
        names (Sequence[str]): Parts of parameter names. Defaults to
            ``('last_layer', )``, which matches both prototype layers.
        epochs (int): Epochs without updates, >= 0; in an iteration-based
            run passes over the data. Defaults to 1.

    Raises:
        ConfigError: Negative ``epochs``, a name that matches no trainable
            parameter, or a wrapper without ``freeze``.

    Source: ``utils.cancel_gradients_last_layer`` of gkakogeorgiou/attmask.
    """

    priority = 'VERY_HIGH'

    def __init__(self, names: Sequence[str] = ('last_layer', ),
                 epochs: int = 1) -> None:
        if epochs < 0:
            raise ConfigError(f'epochs={epochs}: must be >= 0')
        self.names = tuple(names)
        self.epochs = epochs

    def before_train(self, runner: Any) -> None:
        """Finds the parameters."""
        if not hasattr(runner.optim_wrapper, 'freeze'):
            raise ConfigError('FreezeHook needs mimplug.OptimWrapper, got '
                              f'{type(runner.optim_wrapper).__name__}')
        trainable = [(name, parameter) for name, parameter in bare_model(
            runner.model).named_parameters() if parameter.requires_grad]
        for part in self.names:
            if not any(part in name for name, _ in trainable):
                raise ConfigError(
                    f'FreezeHook: no trainable parameter contains {part!r}')
        self.parameters = [
            parameter for name, parameter in trainable
            if any(part in name for part in self.names)
        ]

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Freezes or releases."""
        epoch = data_epoch(runner)
        frozen = self.parameters if epoch < self.epochs else []
        runner.optim_wrapper.freeze(frozen)
