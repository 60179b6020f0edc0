"""Batch norm statistics of the images that are evaluated."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmengine import dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader, Subset

from mimplug.errors import ConfigError, check_range


def batch_norms(network: nn.Module) -> list[Any]:
    """Batch norms with running statistics.

    Args:
        network (nn.Module): Any.
    """
    return [part for part in network.modules()
            if isinstance(part, _BatchNorm) and part.running_mean is not None]


@torch.no_grad()
def recalibrate_bn(network: nn.Module, batches: Iterable[Tensor]) -> int:
    r"""Replaces running statistics by those of given images.

    Over the batches b of :math:`n_b` images on all processes,

    .. math:: \mu = \frac{\sum_b n_b \mu_b}{\sum_b n_b}, \qquad
        \sigma^2 = \frac{\sum_b n_b (\sigma_b^2 + \mu_b^2)}{\sum_b n_b}
        - \mu^2.

    An encoder that was trained on masked or mixed views has running
    statistics of such views; whole images are not alike. Nothing else of the
    network changes.

    Args:
        network (nn.Module): In any mode, which it keeps.
        batches (Iterable[Tensor]): Images (b, C, H, W) as the network gets
            them; equally many batches on each process.

    Returns:
        int: Number of batch norms that were set, 0 if there are none.

    Raises:
        ConfigError: There are no batches.

    Source: PreciseBN of Wu and Johnson, Rethinking "Batch" in BatchNorm,
    2021; MMPretrain's ``PreciseBNHook`` leaves the variance between batches
    out and runs the whole model.
    """
    norms = batch_norms(network)
    if not norms:
        return 0
    sums = [torch.zeros_like(torch.stack(_running(norm))) for norm in norms]
    total = 0
    with _batch_statistics(network, norms):
        for images in batches:
            network(images)
            total += len(images)
            for norm, moments in zip(norms, sums):
                mean, var = _running(norm)
                moments += len(images) * torch.stack(
                    [mean, var + mean.square()])
    _store(norms, sums, total)
    return len(norms)


@contextmanager
def _batch_statistics(network: nn.Module, norms: list[Any]
                      ) -> Iterator[None]:
    """Running statistics become those of the latest whole batch."""
    # one part: mimplug.MoCo's norms may see several in training
    forced = dict(momentum=1.0, training=True, num_splits=1)
    saved = [(part, {name: getattr(part, name) for name in forced
                     if hasattr(part, name)}) for part in network.modules()]
    network.eval()
    try:
        for norm in norms:
            # what is not finite would stay, even with no weight
            norm.running_mean.zero_()
            norm.running_var.fill_(1)
            for name, value in forced.items():
                if hasattr(norm, name):
                    setattr(norm, name, value)
        yield
    finally:
        for part, settings in saved:
            for name, value in settings.items():
                setattr(part, name, value)


def _running(norm: Any) -> tuple[Tensor, Tensor]:
    """Running mean and variance in float64."""
    return norm.running_mean.double(), norm.running_var.double()


def _store(norms: list[Any], sums: list[Tensor], total: int) -> None:
    """Means over all images of all processes."""
    for norm, moments in zip(norms, sums):
        count = moments.new_tensor(float(total))
        for part in (moments, count):
            dist.all_reduce(part)
        if not count:
            raise ConfigError('recalibrate_bn: there are no batches')
        mean, square = moments / count
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((square - mean.square()).clamp(min=0))


@contextmanager
def recalibrated(network: nn.Module, batches: Iterable[Tensor]
                 ) -> Iterator[None]:
    """Like :func:`recalibrate_bn`; afterwards the old values return.

    Args:
        network (nn.Module): Keeps its state, so that a validation does not
            change the run.
        batches (Iterable[Tensor]): As there.

    Raises:
        ConfigError: There are no batches, or no batch norms.
    """
    saved = [(buffer, buffer.clone()) for norm in batch_norms(network)
             for buffer in norm.buffers()]
    if not saved:
        raise ConfigError(
            f'precise_bn: {type(network).__name__} has no batch norms with '
            'running statistics; leave precise_bn out')
    try:
        recalibrate_bn(network, batches)
        yield
    finally:
        for buffer, value in saved:
            buffer.copy_(value)


def spread_loader(loader: DataLoader, num_batches: int) -> DataLoader:
    """A loader of few batches whose images come from all of a data set.

    Data sets are often sorted by class: the first batches would hold a few
    classes only.

    Args:
        loader (DataLoader): An evaluation loader.
        num_batches (int): Of the size of its batches, on each process; fewer
            if there are not so many images.

    Returns:
        DataLoader: Equally many batches on each process.

    Raises:
        ConfigError: ``num_batches`` is below 1.
    """
    check_range('precise_bn', num_batches, 1, float('inf'))
    dataset, size = loader.dataset, loader.batch_size or 1
    length: int = len(dataset)  # type: ignore[arg-type]
    world, rank = dist.get_world_size(), dist.get_rank()
    parts = max(1, min(num_batches * world, length // size) // world) * world
    chosen = np.linspace(
        0, length, min(parts * size, length), endpoint=False).astype(int)
    index = [int(place) for part in range(rank, parts, world)
             for place in chosen[part::parts]]
    return DataLoader(
        Subset(dataset, index), batch_size=size,
        num_workers=loader.num_workers, collate_fn=loader.collate_fn)
