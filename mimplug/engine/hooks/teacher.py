"""Tells the algorithm where the run stands and moves its teacher."""
from __future__ import annotations

import inspect
from typing import Any

from mimplug.errors import ConfigError, check_range
from mimplug.evaluation import bare_model
from mimplug.registry import HOOKS
from mimplug.schedules import warmup_cosine

from .progress import ProgressHook


@HOOKS.register_module()
class TeacherHook(ProgressHook):
    r"""Moving average and centres, once an optimiser step.

    Before an iteration it hands the run's :class:`Progress` to the algorithm
    (temperatures, mask ratios and draws depend on it). After an iteration in
    which the optimiser stepped it calls ``model.step_end(m, finite=…)`` with

    .. math:: m_i = m_1 + (m_0 - m_1)(1 + \cos(\pi i / n)) / 2

    for the step i that just ended, of n; known skipped steps are not counted.
    ``finite`` is the flag of :class:`mimplug.OptimWrapper` on the device: a
    step that it skipped, as for a gradient that overflowed in float16, moves
    neither teacher nor centres (in the reference the float16 scaler skips the
    optimiser step only). With another wrapper it is None.

    Args:
        momentum (float): :math:`m_0` in [0, 1], the share kept from the
            teacher. Defaults to 0.996.
        final_momentum (float): :math:`m_1`. Defaults to 1.

    Raises:
        ConfigError: The model has no ``set_progress`` and
            ``step_end(momentum, finite)``, or a momentum of its own.

    Source: ``momentum_schedule`` in ``main_attmask.py`` of
    gkakogeorgiou/attmask.
    """

    def __init__(self, momentum: float = 0.996,
                 final_momentum: float = 1.0) -> None:
        check_range('momentum', momentum, 0.0, 1.0)
        check_range('final_momentum', final_momentum, 0.0, 1.0)
        self.momentum = momentum
        self.final_momentum = final_momentum

    def before_train(self, runner: Any) -> None:
        """Checks the algorithm and gives it the seed of the run."""
        super().before_train(runner)
        model = bare_model(runner.model)
        if not hasattr(model, 'step_end'):
            raise ConfigError(
                f'TeacherHook: {type(model).__name__} has no step_end()')
        if getattr(model, 'momentum', None) is not None:
            raise ConfigError(
                f'TeacherHook: {type(model).__name__} moves its key encoder '
                f'itself, with its own momentum={model.momentum}; use '
                "dict(type='mimplug.ProgressHook')")
        if 'finite' not in inspect.signature(model.step_end).parameters:
            raise ConfigError(
                f'TeacherHook: {type(model).__name__}.step_end must take '
                'finite=None, a device flag: False if the step was skipped')

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Moves teacher and centres if the optimiser stepped."""
        if not runner.optim_wrapper.should_update():
            return
        model = bare_model(runner.model)
        progress = model.progress
        momentum = warmup_cosine(
            progress.schedule_step, self.momentum, self.final_momentum,
            progress.max_steps)
        model.step_end(momentum, finite=getattr(
            runner.optim_wrapper, 'finite', None))
