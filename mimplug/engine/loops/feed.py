"""Batches of a loader from any place on, without reading what came before."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import get_dist_info
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mimplug.datasets import KeyedInfiniteSampler, KeyedSampler
from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError


class SkippingStream:
    """Indices of a batch sampler, the next pass of which may start later.

    Args:
        stream (Iterable): What the loader takes its (lists of) indices from.
            Its attributes can be read through this object.
    """

    def __init__(self, stream: Iterable[Any]) -> None:
        self.stream = stream
        self.skip = 0

    def __iter__(self) -> Iterator[Any]:
        skip, self.skip = self.skip, 0
        return islice(iter(self.stream), skip, None)

    def __len__(self) -> int:
        return len(self.stream)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        if name == 'stream':  # a copy asks before the attribute is there
            raise AttributeError(name)
        return getattr(self.stream, name)


class Feed:
    """Starts the passes of a loader over its data.

    This one serves samplers of MMEngine, torch and others whose passes end:
    it skips indices by whole batches.

    Args:
        loader (DataLoader): The training loader.
        accumulation (int): Iterations of an optimiser step.
        seed (int): Seed of the run, for what workers draw.

    Raises:
        ConfigError: The data do not fill a single batch.
    """
    endless = False

    def __init__(self, loader: DataLoader, *, accumulation: int,
                 seed: int) -> None:
        self.loader = loader
        self.accumulation = accumulation
        self.seed = seed
        self.rank, self.world_size = get_dist_info()
        self.sampler = sampler_of(loader)
        self.batch_size = batch_size_of(loader)
        self.own_generator = loader.generator is None
        # torch's random samplers would draw from the global generator, so
        # that nobody could tell the order of the pass again
        self.seeds_sampler = getattr(self.sampler, 'generator', 0) is None
        self.stream: SkippingStream | None = None
        self.prepare()
        if len(loader) == 0:
            raise ConfigError(
                f'train_dataloader: {images_of(loader)} images on '
                f'{self.world_size} process(es) do not fill a batch of '
                f'{self.batch_size} a process, and drop_last=True drops the '
                'rest; lower batch_size')

    def prepare(self) -> None:
        """Makes the loader ready before its length is read."""
        self.stream = skipping_stream(self.loader)

    @property
    def global_batch(self) -> int:
        """Samples of an iteration on all ranks."""
        return int(self.batch_size * self.world_size)

    def left(self, samples: int) -> int:
        """Iterations of an epoch of which ``samples`` samples are done."""
        return max(0, len(self.loader) - samples // self.global_batch)

    def advance(self, epoch: int, samples: int, iterations: int
                ) -> tuple[int, int]:
        """The place that many iterations after another one.

        Args:
            epoch (int): 0-based epoch of the first place.
            samples (int): Samples of it that are done.
            iterations (int): Distance, >= 0.

        Returns:
            tuple[int, int]: Epoch and samples; at a border the new epoch.
        """
        left = self.left(samples)
        if iterations < left:
            return epoch, samples + iterations * self.global_batch
        passes, rest = divmod(iterations - left, len(self.loader))
        return epoch + 1 + passes, rest * self.global_batch

    def start(self, epoch: int, samples: int) -> Iterator[Any]:
        """The batches of an epoch from a place on.

        Args:
            epoch (int): 0-based epoch.
            samples (int): Samples of it, over all ranks, that are done.

        Returns:
            Iterator: Batches; nothing before the place is read.
        """
        self.seek(epoch, samples)
        # An iterator draws a seed for its workers. It must not come from the
        # global generator: a resumed run makes an iterator more.
        if self.own_generator:
            self.loader.generator = self._generator(epoch, samples, self.rank)
        return iter(self.loader)

    def close(self) -> None:
        """Ends persistent workers, which would wait for another pass.

        Left to the garbage collector they take five seconds each: it closes
        their queues before it tells them to stop.
        """
        self.loader._iterator = None

    def seek(self, epoch: int, samples: int) -> None:
        """Tells the sampler where the next pass starts."""
        if samples and self.stream is None:
            raise ConfigError(
                f'{type(self.loader.dataset).__name__} is an IterableDataset, '
                'which has no index and cannot start in the middle: resume '
                'from a checkpoint of the end of an epoch')
        if self.stream is not None:
            self.stream.skip = samples // self.global_batch
        if self.seeds_sampler:
            self.sampler.generator = self._generator(epoch, 0, 0)
        if hasattr(self.sampler, 'set_epoch'):
            self.sampler.set_epoch(epoch)

    def _generator(self, *key: int) -> torch.Generator:
        """A generator whose numbers depend on the run and the key."""
        seed = KeyedRandom(self.seed, *key).integers('loader', 0, 2**31 - 1)
        return torch.Generator().manual_seed(seed)

    def reseed(self, seed: int) -> None:
        """Makes the sampler go on with the order of the resumed run."""
        if hasattr(self.sampler, 'reseed'):
            self.sampler.reseed(seed)
        elif hasattr(self.sampler, 'seed'):
            self.sampler.seed = seed

    @property
    def order_seed(self) -> int:
        """Seed of the sampler's order; -1: it has none."""
        seed = getattr(self.sampler, 'seed', None)
        return seed if isinstance(seed, int) and seed >= 0 else -1


class KeyedFeed(Feed):
    """Passes of a :class:`mimplug.KeyedSampler`, exact to the sample.

    An epoch consists of whole optimiser steps, so that its end is always one
    of a step, too.
    """

    def prepare(self) -> None:
        """Rounds the epoch to whole optimiser steps."""
        self.sampler.round_to(self.batch_size * self.accumulation)

    def left(self, samples: int) -> int:
        """Iterations of an epoch of which ``samples`` samples are done."""
        count: int = self.sampler.count_from(samples)
        return count // self.batch_size

    def seek(self, epoch: int, samples: int) -> None:
        """Tells the sampler where the next pass starts."""
        self.sampler.set_epoch(epoch)
        self.sampler.set_position(min(samples, self.sampler.size))


class EndlessFeed(Feed):
    """The one pass of a sampler that never ends."""
    endless = True

    def prepare(self) -> None:
        """Looks whether the sampler itself can be told where to start."""
        self.plain = is_plain(self.loader)
        if not self.plain or not hasattr(self.sampler, 'skip'):
            super().prepare()

    @property
    def size(self) -> int:
        """Samples of an epoch."""
        return getattr(self.sampler, 'size', None) or images_of(self.loader)

    def advance(self, epoch: int, samples: int, iterations: int
                ) -> tuple[int, int]:
        """As for :class:`Feed`; batches straddle the borders of epochs."""
        done = samples + iterations * self.global_batch
        return epoch + done // self.size, done % self.size

    def seek(self, epoch: int, samples: int) -> None:
        """Tells the sampler where in the run the next iteration is."""
        done = epoch * self.size + samples
        if self.stream is not None:
            self.stream.skip = done // self.global_batch
        elif isinstance(self.sampler, KeyedInfiniteSampler):
            self.sampler.set_position(done)
        else:
            self.sampler.skip(done // self.world_size)


def make_feed(loader: DataLoader, *, accumulation: int, seed: int) -> Feed:
    """The feed that fits the sampler of a loader.

    Args:
        loader (DataLoader): The training loader.
        accumulation (int): Iterations of an optimiser step.
        seed (int): Seed of the run.

    Returns:
        Feed: Its epochs of keyed samplers are rounded to optimiser steps.

    Raises:
        ConfigError: The data do not fill an optimiser step.
    """
    sampler = sampler_of(loader)
    kind = Feed
    if is_endless(sampler):
        kind = EndlessFeed
    elif isinstance(sampler, KeyedSampler) and is_plain(loader):
        kind = KeyedFeed
    return kind(loader, accumulation=accumulation, seed=seed)


def is_endless(sampler: Any) -> bool:
    """Whether a sampler yields for ever."""
    return isinstance(sampler, (KeyedInfiniteSampler, InfiniteSampler)
                      ) or hasattr(sampler, 'skip')


def is_plain(loader: DataLoader) -> bool:
    """Whether batches are so many samples in a row."""
    return type(unwrapped(loader.batch_sampler)) is BatchSampler


def sampler_of(loader: DataLoader) -> Any:
    """The sampler whose indices a loader groups."""
    inner = getattr(unwrapped(loader.batch_sampler), 'sampler', None)
    return loader.sampler if inner is None else inner


def images_of(loader: DataLoader) -> int:
    """Length of the data set of a loader."""
    return len(loader.dataset)  # type: ignore[arg-type]


def batch_size_of(loader: DataLoader) -> int:
    """Samples of an iteration on this rank; 1 where a loader cannot tell."""
    size = loader.batch_size
    if size is None:
        size = getattr(loader.batch_sampler, 'batch_size', None)
    return int(size or 1)


def unwrapped(stream: Any) -> Any:
    """A batch sampler without :class:`SkippingStream` around it."""
    return stream.stream if isinstance(stream, SkippingStream) else stream


def skipping_stream(loader: DataLoader) -> SkippingStream | None:
    """Puts a :class:`SkippingStream` into a loader; None without indices."""
    if isinstance(loader.dataset, IterableDataset):
        return None
    name = 'sampler' if loader.batch_sampler is None else 'batch_sampler'
    stream = getattr(loader, name)
    if not isinstance(stream, SkippingStream):
        stream = SkippingStream(stream)
        # DataLoader refuses assignment lest batch sizes contradict each
        # other, which these do not
        object.__setattr__(loader, name, stream)
    return stream
