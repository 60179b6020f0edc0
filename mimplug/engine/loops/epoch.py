"""Epochs of training that can be entered anywhere."""
from __future__ import annotations

from itertools import islice
from typing import Any

from mmengine.runner import EpochBasedTrainLoop
from torch.utils.data import DataLoader

from mimplug.errors import ConfigError
from mimplug.registry import LOOPS

from .position import Position
from .resumable import ResumableLoop, check_whole, wrong_counts


@LOOPS.register_module()
class EpochTrainLoop(ResumableLoop, EpochBasedTrainLoop):
    """MMEngine's epoch loop that starts at any position.

    Same hooks in the same order. What differs:

    - A resumed run starts at its sample without reading those before it,
      with any number of processes and any batch (:class:`Position`).
    - An epoch of :class:`mimplug.KeyedSampler` consists of whole optimiser
      steps. With other samplers a group of accumulated gradients may straddle
      the border of epochs.
    - ``after_train_epoch`` and the validation belong to their epoch however
      it was interrupted: what a checkpoint does not record as done is done
      first after resuming.
    - ``stop_training`` is honoured after every iteration; an epoch that is
      not complete then has no ``after_train_epoch`` and no validation.

    Args:
        runner (Runner): Filled in by the runner.
        dataloader (DataLoader | dict): Filled in by the runner.
        max_epochs (int): Epochs of the run, >= 1.
        val_begin (int): First epoch that is validated. Defaults to 1.
        val_interval (int): Epochs between validations, >= 1. Defaults to 1.
        dynamic_intervals (list[tuple[int, int]], optional): Epochs from which
            on other intervals hold. Defaults to None.
        prefetch (bool): Whether the next batch is copied to the GPU while
            the present one is trained on. Defaults to True.

    Raises:
        ConfigError: A number is out of range, the data do not fill an
            optimiser step, or the sampler has no end.
    """

    def __init__(self, runner: Any, dataloader: DataLoader | dict[str, Any],
                 max_epochs: int, val_begin: int = 1, val_interval: int = 1,
                 dynamic_intervals: list[tuple[int, int]] | None = None, *,
                 prefetch: bool = True) -> None:
        max_epochs = check_whole('max_epochs', max_epochs, 1)
        check_whole('val_begin', val_begin, 0)
        check_whole('val_interval', val_interval, 1)
        feed = self.prepare(runner, dataloader, prefetch)
        if feed.endless:
            raise ConfigError(
                f'{type(feed.sampler).__name__} has no end, so EpochTrainLoop '
                "would never finish an epoch: use sampler=dict(type='mimplug."
                "KeyedSampler') or train_cfg=dict(type='mimplug."
                "IterTrainLoop', max_iters=...)")
        super().__init__(runner, feed.loader, max_epochs, val_begin,
                         val_interval, dynamic_intervals)
        self._closing = False

    @property
    def data_epoch(self) -> int:
        """0-based epoch of the running iteration."""
        return int(self._epoch)

    @property
    def data_epochs(self) -> int:
        """Epochs of the run."""
        return int(self._max_epochs)

    def run(self) -> Any:
        """Trains to the end.

        Returns:
            nn.Module: The model.
        """
        self.runner.call_hook('before_train')
        try:
            self._run_epochs()
        finally:
            self.feed.close()
        self.runner.call_hook('after_train')
        return self.runner.model

    def _run_epochs(self) -> None:
        """What is left of the run, epoch by epoch."""
        self.begin()
        at_border = self._epoch > 0 and self._start.epoch_samples == 0
        if (at_border and self._is_restored and not self._start.validated
                and self.validation_due()):
            self.validate()
        while self._epoch < self._max_epochs and not self.stop_training:
            epoch = self._epoch
            self.run_epoch()
            if self._epoch > epoch and self.validation_due():
                self.validate()

    def run_epoch(self) -> None:
        """Trains on what is left of the epoch."""
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        length = len(self.feed.loader)
        end = (self._epoch + 1) * length
        _, samples = self.place_at(self._iter)
        batches = self.batches(self.feed.start(self._epoch, samples))
        for batch in islice(batches, end - self._iter):
            self.run_iter(length - (end - self._iter), batch)
            if self.stop_training and self._iter < end:
                return
        if self._iter < end:
            raise ConfigError(
                f'the loader ended {end - self._iter} iterations before the '
                f'{length} of its length: __len__ of the data set or sampler '
                'is wrong')
        self._closing = True
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._closing = False

    def validation_due(self) -> bool:
        """Whether a validation follows the epochs that are done."""
        self._decide_current_val_interval()
        return (self.runner.val_loop is not None
                and self._epoch >= self.val_begin
                and (self._epoch % self.val_interval == 0
                     or self._epoch == self._max_epochs))

    def place_at(self, iterations: int) -> tuple[int, int]:
        """Epoch and samples of it when ``iterations`` iterations are done.

        An epoch is finished when its ``after_train_epoch`` hooks run;
        before, all of its samples are done.
        """
        done = iterations - self._epoch * len(self.feed.loader)
        if self._closing:
            return self._epoch + 1, 0
        if self._epoch == self._start.epoch:
            return self._epoch, self._start.epoch_samples + (
                iterations - self._start.iter) * self.feed.global_batch
        return self._epoch, done * self.feed.global_batch

    def translate(self, saved: Position) -> Position:
        """Counts iterations back from the end of the epoch."""
        length = len(self.feed.loader)
        left = self.feed.left(saved.epoch_samples)
        return Position(
            epoch=saved.epoch, iter=(saved.epoch + 1) * length - left,
            epoch_samples=saved.epoch_samples, samples=saved.samples,
            validated=saved.validated)

    def from_counts(self) -> Position:
        """The position that epoch and iter alone tell."""
        length = len(self.feed.loader)
        done = self._iter - self._epoch * length
        if not 0 <= done <= length:
            raise wrong_counts(self._epoch, self._iter, length)
        batch = self.feed.global_batch
        return Position(epoch=self._epoch, iter=self._iter,
                        epoch_samples=done * batch,
                        samples=self._iter * batch)
