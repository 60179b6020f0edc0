"""Samplers that yield keys: (epoch, index, repeat) instead of an index.

A key says all that a sample's random numbers may depend on, so results do not
depend on worker count, prefetching, resuming or the number of processes.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.registry import DATA_SAMPLERS

Key = tuple[int, int, int]

TAILS = ('drop', 'pad', 'keep')


def epoch_order(seed: int, epoch: int, length: int) -> np.ndarray:
    """The shuffled indices of one epoch; every rank computes the same.

    Args:
        seed (int): Seed of the run.
        epoch (int): 0-based epoch.
        length (int): Size N of the data set.

    Returns:
        np.ndarray: A permutation of 0..N-1, int64 (N,).
    """
    indices = np.arange(length, dtype=np.int64)
    keys = SampleKeys(np.full_like(indices, epoch), indices,
                      np.zeros_like(indices))
    scores = HashDraws(seed, 0, keys).row_uniform('order', 0.0, 1.0)
    return np.argsort(scores, kind='stable')


@DATA_SAMPLERS.register_module()
class KeyedSampler(Sampler[Key]):
    r"""Yields the keys of one epoch, interleaved over the ranks.

    With W ranks, rank r takes the positions :math:`p_0 + r, p_0 + r + W,
    \dots` of the epoch's common order, so the union of the ranks' n-th
    batches is the n-th batch of a single process with W times the batch.
    :meth:`set_position` moves :math:`p_0`; nothing before it is read.

    Args:
        dataset (Sized): The data set; must take keys, as
            :class:`mimplug.KeyedDataset` does, which also gets the seed.
        seed (int, optional): Seed of order and draws, equal on all ranks.
            Defaults to None: a random one, agreed upon by the ranks.
        shuffle (bool): Whether each epoch has its own order. Defaults to
            True.
        repeats (int): Times that each sample is seen in an epoch, one after
            the other, each with its own draws. Defaults to 1.
        tail (str): What becomes of samples that W does not divide: 'drop'
            leaves them out of this epoch, 'pad' fills up from its start
            (MMEngine's ``round_up=True``), 'keep' lets ranks differ by one
            (``round_up=False``; for evaluation). Defaults to 'drop', with
            which the batches of a loader with ``drop_last=True`` are the
            same for any number of ranks.
        start_position (int): Samples of the first epoch, over all ranks,
            that are already done. Defaults to 0.

    Raises:
        ConfigError: A setting is out of range, or ``dataset`` takes no keys.
    """

    def __init__(self, dataset: Any, seed: int | None = None, *,
                 shuffle: bool = True, repeats: int = 1, tail: str = 'drop',
                 start_position: int = 0) -> None:
        check_range('repeats', repeats, 1, 1 << 20)
        check_choice('tail', tail, TAILS)
        if not hasattr(dataset, 'bind_seed'):
            raise ConfigError(
                f'{type(self).__name__} needs a data set that takes keys, '
                f'got {type(dataset).__name__}: wrap it as '
                "dict(type='mimplug.KeyedDataset', dataset=..., "
                'pipeline=[...])')
        self.rank: int
        self.world_size: int
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.seed = sync_random_seed() if seed is None else seed
        self.shuffle = shuffle
        self.repeats = repeats
        self.tail = tail
        self.epoch = 0
        self.group: int | None = None
        self.size = len(dataset) * repeats
        self._check_size()
        self.set_position(start_position)
        dataset.bind_seed(self.seed)

    def _check_size(self) -> None:
        """Refuses data sets that would give an epoch without samples."""
        least = self.world_size if self.tail == 'drop' else 1
        if self.size < least:
            raise ConfigError(
                f'{type(self).__name__}: {len(self.dataset)} samples x '
                f'{self.repeats} repeats, but at least {least} are needed '
                f"for {self.world_size} process(es) with tail='{self.tail}'")

    def __len__(self) -> int:
        """Samples of this rank in a whole epoch, wherever it starts."""
        return self.count_from(0)

    def count_from(self, samples: int) -> int:
        """Samples of this rank in an epoch of which a part is done.

        Args:
            samples (int): Samples of the epoch, over all ranks, that are
                already done, >= 0.

        Returns:
            int: Whole groups of :meth:`round_to` only.
        """
        remaining = max(0, self.size - samples)
        if self.tail == 'pad':
            count = -(-remaining // self.world_size)
        elif self.tail == 'drop' or self.group is not None:
            # ranks that differ by a sample would differ by a whole group
            count = remaining // self.world_size
        else:
            count = max(0, -(-(remaining - self.rank) // self.world_size))
        group = self.group or 1
        return count // group * group

    def round_to(self, samples: int) -> None:
        """Makes an epoch consist of whole groups, as whole optimiser steps.

        What is left over at the end of an epoch is dropped, as by
        ``drop_last=True`` with the group as the batch. The training loops
        call this before anything asks for the length.

        Args:
            samples (int): Samples of a group on each rank, >= 1: batch size
                times accumulation.

        Raises:
            ConfigError: The epoch does not fill a single group.
        """
        check_range('samples', samples, 1, float('inf'))
        self.group = samples
        if len(self) == 0:
            raise ConfigError(
                f'{self.size} samples on {self.world_size} process(es) do '
                f'not fill one optimiser step of {samples} samples (batch x '
                'accumulation) a process; lower batch_size')

    def reseed(self, seed: int) -> None:
        """Takes the seed of the run that is resumed.

        Draws of the data set follow if they came from here.

        Args:
            seed (int): Seed of order and draws.
        """
        if getattr(self.dataset, 'seed', None) == self.seed:
            self.dataset.seed = seed
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch; a new one starts at its first sample.

        Args:
            epoch (int): 0-based epoch. The present one keeps its position,
                so that hooks may call this after a resume.
        """
        if epoch != self.epoch:
            self.epoch = epoch
            self.position = 0

    def set_position(self, samples: int) -> None:
        """Chooses where in the present epoch the next iteration starts.

        Args:
            samples (int): Samples of this epoch, over all ranks, that are
                already done; with repeats each counts.

        Raises:
            ConfigError: The epoch is shorter than that.
        """
        check_range('start_position', samples, 0, self.size)
        self.position = samples

    def __iter__(self) -> Iterator[Key]:
        """Yields (epoch, index, repeat) of this rank from the position on."""
        count = self.count_from(self.position)
        places = self.position + self.rank + self.world_size * np.arange(count)
        return self._keys(self.epoch, places % self.size)

    def _keys(self, epoch: int, places: np.ndarray) -> Iterator[Key]:
        """Keys of the given places of an epoch."""
        rows = places // self.repeats
        if self.shuffle:
            rows = epoch_order(self.seed, epoch, len(self.dataset))[rows]
        repeats = places % self.repeats
        for index, repeat in zip(rows.tolist(), repeats.tolist()):
            yield epoch, index, repeat


@DATA_SAMPLERS.register_module()
class KeyedInfiniteSampler(KeyedSampler):
    """Yields keys without end, for iteration-based loops.

    The epochs of :class:`KeyedSampler` follow each other without a gap;
    batches may straddle their border, and no sample is left out. The
    position counts the samples of all ranks since the start of the run.

    Args:
        dataset (Sized): As for :class:`KeyedSampler`.
        seed (int, optional): As there.
        shuffle (bool): As there. Defaults to True.
        repeats (int): As there. Defaults to 1.
        start_position (int): Samples of the run, over all ranks, that are
            already done. Defaults to 0.
    """

    def __init__(self, dataset: Any, seed: int | None = None, *,
                 shuffle: bool = True, repeats: int = 1,
                 start_position: int = 0) -> None:
        super().__init__(dataset, seed, shuffle=shuffle, repeats=repeats,
                         tail='pad', start_position=start_position)

    def set_epoch(self, epoch: int) -> None:
        """Nothing to do: the position says it all."""

    def round_to(self, samples: int) -> None:
        """Nothing to do: groups straddle the borders of epochs."""

    def set_position(self, samples: int) -> None:
        """Chooses where in the run the next iteration starts.

        Args:
            samples (int): Samples over all ranks that are already done.
        """
        check_range('start_position', samples, 0, float('inf'))
        self.position = samples

    def skip(self, num_samples: int) -> None:
        """What MMEngine's iteration-based loop calls when it resumes.

        Args:
            num_samples (int): Samples of this rank that are already done.
        """
        self.set_position(num_samples * self.world_size)

    def __iter__(self) -> Iterator[Key]:
        """Yields (epoch, index, repeat) of this rank for ever."""
        place = self.position + self.rank
        while True:
            epoch, first = divmod(place, self.size)
            places = np.arange(first, self.size, self.world_size)
            yield from self._keys(epoch, places)
            place += self.world_size * len(places)
