"""What both training loops share: their place, and how to go on from one."""
from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from mmengine import dist
from mmengine.logging import print_log
from torch.utils.data import DataLoader

from mimplug.errors import CheckpointError, ConfigError

from .feed import Feed, make_feed
from .position import Position, accumulation_of
from .prefetch import prefetch_to


class ResumableLoop:
    """Mixin of a training loop of MMEngine.

    Needs :meth:`place_at` (epoch and samples after some iterations) and
    :meth:`translate` (a saved position in units of this run).
    """
    runner: Any
    feed: Feed
    _epoch: int
    _iter: int
    _max_iters: int

    def prepare(self, runner: Any, dataloader: Any, prefetch: bool) -> Feed:
        """Builds the loader and what starts it; before MMEngine's loop.

        Args:
            runner (Runner): The runner; its optimiser wrapper may still be a
                dict.
            dataloader (DataLoader | dict): The loader or its settings.
            prefetch (bool): Whether batches go to a GPU ahead of their step.

        Returns:
            Feed: Around the loader.

        Raises:
            ConfigError: The data do not fill an optimiser step.
        """
        if not isinstance(prefetch, bool):
            raise ConfigError(f'prefetch={prefetch!r}: must be True or False')
        if not isinstance(dataloader, DataLoader):
            # one seed for all samplers: with diff_rank_seed the ranks differ,
            # and MMEngine would draw another one
            seed = [runner.seed]
            dist.broadcast_object_list(seed)
            dataloader = runner.build_dataloader(dataloader, seed=seed[0])
        self.prefetch = prefetch
        self.feed = make_feed(
            dataloader, seed=runner.seed or 0,
            accumulation=accumulation_of(runner.optim_wrapper))
        self._start = self._fill_in(Position())
        self._is_restored = False
        self._validated_iter = -1
        return self.feed

    def place_at(self, iterations: int) -> tuple[int, int]:
        """Epoch and samples of it when ``iterations`` iterations are done."""
        raise NotImplementedError

    def translate(self, saved: Position) -> Position:
        """The same place in units of the present run."""
        raise NotImplementedError

    @property
    def at_boundary(self) -> bool:
        """Whether the iteration just done ended an optimiser step.

        Holds from the hooks after an iteration to the next forward pass; a
        checkpoint of another moment would lose gradients.
        """
        wrapper = self.runner.optim_wrapper
        parts = getattr(wrapper, 'optim_wrappers', {'': wrapper}).values()
        return all(part.should_update() for part in parts
                   if hasattr(part, 'should_update'))

    def position_at(self, iterations: int) -> dict[str, int]:
        """What a checkpoint needs to know.

        Args:
            iterations (int): Iterations that are done: ``runner.iter + 1`` in
                hooks after an iteration, ``runner.iter`` after an epoch.

        Returns:
            dict[str, int]: :class:`Position` as a dict.
        """
        epoch, samples = self.place_at(iterations)
        done = iterations - self._start.iter
        return self._fill_in(Position(
            epoch=epoch, iter=iterations, epoch_samples=samples,
            samples=self._start.samples + done * self.feed.global_batch,
            validated=int(iterations == self._validated_iter))).as_dict()

    def restore(self, meta: dict[str, Any]) -> None:
        """Prepares to go on from a checkpoint.

        To be called before :meth:`Runner.resume` copies ``meta['epoch']`` and
        ``meta['iter']``: both are rewritten into units of this run. A
        checkpoint without ``meta['position']`` (of MMEngine's hook) is taken
        at these two; world size and batch must then be the same.

        Args:
            meta (dict): ``checkpoint['meta']``, changed in place.

        Raises:
            CheckpointError: Its position is damaged.
        """
        if 'position' not in meta:
            return
        saved = Position.parse(meta['position'])
        if saved.seed >= 0:
            self.feed.reseed(saved.seed)
        start = self._fill_in(self.translate(saved))
        self._start, self._is_restored = start, True
        self._validated_iter = start.iter if start.validated else -1
        meta['epoch'], meta['iter'] = self.counts(start)
        if not saved.same_units(start):
            print_log(
                f'The checkpoint has optimiser steps of {saved.global_batch} '
                f'x {saved.accumulation} samples, this run of '
                f'{start.global_batch} x {start.accumulation}: it goes on '
                f'after {start.epoch_samples} samples of epoch '
                f'{start.epoch + 1}, at iteration {start.iter}',
                logger='current', level=logging.WARNING)

    def counts(self, start: Position) -> tuple[int, int]:
        """What MMEngine calls epoch and iter of a position."""
        return start.epoch, start.iter

    def begin(self) -> None:
        """Takes over the counts of MMEngine where no position came."""
        if self._start.iter != self._iter:
            self._start = self._fill_in(self.from_counts())
            self._is_restored = False

    def from_counts(self) -> Position:
        """The position that epoch and iter alone tell."""
        raise NotImplementedError

    def _fill_in(self, position: Position) -> Position:
        """A position with the units of this run."""
        return replace(
            position, global_batch=self.feed.global_batch,
            accumulation=self.feed.accumulation,
            epoch_length=len(self.feed.loader), seed=self.feed.order_seed)

    def batches(self, source: Iterator[Any]) -> Iterator[Any]:
        """Batches, on the device if that can be done ahead."""
        parameter = next(self.runner.model.parameters(), torch.empty(0))
        if not self.prefetch:
            return source
        return prefetch_to(source, parameter.device)

    def validate(self) -> None:
        """Runs the validation loop and remembers that it was run."""
        self._validated_iter = self._iter
        self.runner.val_loop.run()


def check_whole(name: str, value: Any, low: int) -> int:
    """A whole number of a config, e.g. ``max_epochs``.

    Args:
        name (str): Name of the argument, for the message.
        value (int | float): What was given.
        low (int): Least allowed value.

    Returns:
        int: The number.

    Raises:
        ConfigError: It is not whole, or too small.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not float(value).is_integer() or value < low:
        raise ConfigError(
            f'train_cfg: {name}={value!r} must be a whole number >= {low}')
    return int(value)


def wrong_counts(epoch: int, iteration: int, length: int) -> CheckpointError:
    """The error for counts of a run with another batch."""
    return CheckpointError(
        f'the checkpoint stands at epoch {epoch}, iteration {iteration}, '
        f'which cannot be with {length} iterations an epoch, and it has no '
        'position in samples: resume with the batch size and number of '
        'processes of its run, or save with mimplug.CheckpointHook')
