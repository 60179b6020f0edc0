"""Puts the gradient norm into the log."""
from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from mimplug.registry import HOOKS


@HOOKS.register_module()
class GradNormHook(Hook):
    """Logs the norm before clipping of the latest optimiser step.

    :class:`mimplug.OptimWrapper` keeps it on the device; it is read only at
    the log interval.

    Args:
        interval (int): Iterations between two readings, the ``interval`` of
            ``LoggerHook``. Defaults to 10.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def after_train_iter(self, runner: Any, batch_idx: int,
                         data_batch: Any = None,
                         outputs: dict | None = None) -> None:
        """Reads the norm, if it is time."""
        norm = getattr(runner.optim_wrapper, 'grad_norm', None)
        # when LoggerHook writes: counted within the epoch, and at its end
        if norm is not None and (
                self.every_n_inner_iters(batch_idx, self.interval)
                or self.end_of_epoch(runner.train_dataloader, batch_idx)):
            runner.message_hub.update_scalar('train/grad_norm', norm)
