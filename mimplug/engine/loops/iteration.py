"""Training by iterations that can be entered anywhere."""
from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from mmengine.runner import IterBasedTrainLoop
from torch.utils.data import DataLoader

from mimplug.registry import LOOPS

from .position import Position
from .resumable import ResumableLoop, check_whole


@LOOPS.register_module()
class IterTrainLoop(ResumableLoop, IterBasedTrainLoop):
    """MMEngine's iteration loop that starts at any position.

    Same hooks in the same order; the run is one big epoch of MMEngine. With
    :class:`mimplug.KeyedInfiniteSampler` no sample is left out and batches
    straddle the borders of epochs. Samplers that end are started again with
    the next epoch, at once. ``max_iters`` counts micro-batches.

    A validation that follows the iteration of a checkpoint, and is not
    recorded in it, is run first after resuming.

    Args:
        runner (Runner): Filled in by the runner.
        dataloader (DataLoader | dict): Filled in by the runner.
        max_iters (int): Iterations of the run, >= 1.
        val_begin (int): First iteration that is validated. Defaults to 1.
        val_interval (int): Iterations between validations, >= 1. Defaults to
            1000.
        dynamic_intervals (list[tuple[int, int]], optional): Iterations from
            which on other intervals hold. Defaults to None.
        prefetch (bool): Whether the next batch is copied to the GPU while
            the present one is trained on. Defaults to True.

    Raises:
        ConfigError: A number is out of range, or the data do not fill an
            optimiser step.
    """

    def __init__(self, runner: Any, dataloader: DataLoader | dict[str, Any],
                 max_iters: int, val_begin: int = 1, val_interval: int = 1000,
                 dynamic_intervals: list[tuple[int, int]] | None = None, *,
                 prefetch: bool = True) -> None:
        max_iters = check_whole('max_iters', max_iters, 1)
        check_whole('val_begin', val_begin, 0)
        check_whole('val_interval', val_interval, 1)
        feed = self.prepare(runner, dataloader, prefetch)
        super().__init__(runner, feed.loader, max_iters, val_begin,
                         val_interval, dynamic_intervals)

    @property
    def data_epoch(self) -> int:
        """0-based pass over the data in which the running iteration is."""
        return self.place_at(self._iter)[0]

    @property
    def data_epochs(self) -> int:
        """Passes over the data that the run begins."""
        epoch, samples = self.place_at(self._max_iters)
        return max(1, epoch + (samples > 0))

    def run(self) -> Any:
        """Trains to the end.

        Returns:
            nn.Module: The model.
        """
        self.runner.call_hook('before_train')
        self.begin()
        self.runner.call_hook('before_train_epoch')
        try:
            self._run_iterations()
        finally:
            self.feed.close()
        self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model

    def _run_iterations(self) -> None:
        """What is left of the run."""
        if (self._is_restored and not self._start.validated
                and self._iter > 0 and self.validation_due()):
            self.validate()
        batches = self.batches(self._passes())
        self.runner.model.train()
        while self._iter < self._max_iters and not self.stop_training:
            self.run_iter(next(batches))
            if self.validation_due():
                self.validate()
                self.runner.model.train()

    def _passes(self) -> Iterator[Any]:
        """The batches of one epoch after the other."""
        epoch, samples = self.place_at(self._iter)
        while True:
            yield from self.feed.start(epoch, samples)
            epoch, samples = epoch + 1, 0

    def validation_due(self) -> bool:
        """Whether a validation follows the iterations that are done."""
        self._decide_current_val_interval()
        return (self.runner.val_loop is not None
                and self._iter >= self.val_begin
                and (self._iter % self.val_interval == 0
                     or self._iter == self._max_iters))

    def place_at(self, iterations: int) -> tuple[int, int]:
        """Epoch and samples of it when ``iterations`` iterations are done."""
        return self.feed.advance(
            self._start.epoch, self._start.epoch_samples,
            iterations - self._start.iter)

    def translate(self, saved: Position) -> Position:
        """Counts whole optimiser steps of the samples that are done."""
        here = self.feed
        if (saved.global_batch, saved.accumulation) == (
                here.global_batch, here.accumulation):
            return saved
        step = here.global_batch * here.accumulation
        steps = saved.samples // step
        return replace(saved, iter=steps * here.accumulation)

    def counts(self, start: Position) -> tuple[int, int]:
        """MMEngine's epoch is the whole run, the first and last one."""
        return 0, start.iter

    def from_counts(self) -> Position:
        """The position that the iteration alone tells."""
        epoch, samples = self.feed.advance(0, 0, self._iter)
        return Position(epoch=epoch, iter=self._iter, epoch_samples=samples,
                        samples=self._iter * self.feed.global_batch)
