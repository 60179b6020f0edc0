"""Tells algorithms without a teacher where the run stands."""
from __future__ import annotations

from typing import Any

from mmengine import dist
from mmengine.hooks import Hook

from mimplug.errors import ConfigError
from mimplug.evaluation import bare_model
from mimplug.registry import HOOKS

from .teacher import run_progress


@HOOKS.register_module()
class ProgressHook(Hook):
    """Hands position and seed of the run to the algorithm.

    For algorithms whose draws or schedules depend on them but that have no
    teacher of ours to be moved, such as ``mimplug.SimMIM``;
    :class:`mimplug.TeacherHook` does the same and moves the teacher.

    Raises:
        ConfigError: The model has no ``set_progress``.
    """

    def before_train(self, runner: Any) -> None:
        """Checks the algorithm and gives it the seed of the run."""
        model = bare_model(runner.model)
        if not hasattr(model, 'set_progress'):
            raise ConfigError(
                f'ProgressHook: {type(model).__name__} has no '
                'set_progress(); of the stock algorithms take mimplug.SimMIM, '
                'mimplug.BEiT, mimplug.MAE …')
        if getattr(model, 'draws_seed', 0) is None:
            # ranks may have seeds of their own (diff_rank_seed)
            seed = [runner.seed]
            dist.broadcast_object_list(seed)
            model.draws_seed = seed[0]
        # a run resumed at its very end has no iteration that would do it
        model.set_progress(run_progress(runner))

    def before_train_iter(self, runner: Any, batch_idx: int,
                          data_batch: Any = None) -> None:
        """Sets the position of this iteration."""
        bare_model(runner.model).set_progress(run_progress(runner))
