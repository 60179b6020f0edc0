"""Batch norm over parts of a batch: one process that acts like several."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mimplug.errors import ConfigError, check_range


class SplitBatchNorm(_BatchNorm):
    """Batch norm whose statistics in training are those of N parts.

    Part s of a batch holds the images s, s + N, s + 2N, … Running statistics
    are the mean of those of the parts. Names of the state are those of an
    ordinary batch norm.

    Args:
        num_splits (int): N >= 1.
        **kwargs: Arguments of ``nn.BatchNorm2d``.

    Source: ``SplitBatchNorm`` of the MoCo CIFAR demo of
    facebookresearch/moco, used with 8 parts by szq0214/Un-Mix.
    """

    num_splits = 1

    def __init__(self, num_features: int, num_splits: int,
                 **kwargs: Any) -> None:
        super().__init__(num_features, **kwargs)
        self.num_splits = num_splits

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 (torch)
        """Any number of dimensions from 2."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (torch)
        """(B, C, ...) -> the same.

        Raises:
            ValueError: B is no multiple of N in training.
        """
        if not self.training:
            return super().forward(input)
        parts, (batch, channels) = self.num_splits, input.shape[:2]
        if batch % parts:
            raise ValueError(
                f'split_bn={parts}: a batch of {batch} images has no '
                f'{parts} equal parts')

        def repeat(values: Any) -> Any:
            return None if values is None else values.repeat(parts)

        mean, var = repeat(self.running_mean), repeat(self.running_var)
        joined = input.reshape(
            batch // parts, parts * channels, *input.shape[2:])
        factor = 0.0 if self.momentum is None else self.momentum
        output = F.batch_norm(
            joined, mean, var, repeat(self.weight), repeat(self.bias), True,
            factor, self.eps)
        if self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                self.running_mean.copy_(mean.view(parts, -1).mean(0))
                self.running_var.copy_(var.view(parts, -1).mean(0))
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return output.reshape(input.shape)


def split_batch_norms(network: nn.Module, num_splits: int) -> None:
    """Turns every batch norm of a network into one over parts, in place.

    Args:
        network (nn.Module): Its parameters and buffers stay.
        num_splits (int): N >= 1.

    Raises:
        ConfigError: There is no batch norm, or one that is synchronised
            over processes.
    """
    check_range('split_bn', num_splits, 1, 1 << 16)
    norms = [part for part in network.modules()
             if isinstance(part, _BatchNorm)]
    if not norms or any(isinstance(part, nn.SyncBatchNorm)
                        for part in norms):
        raise ConfigError(
            f'split_bn={num_splits}: the encoder needs batch norms, and none '
            'that are synchronised over processes')
    for part in norms:
        part.__class__ = SplitBatchNorm
        assert isinstance(part, SplitBatchNorm)
        part.num_splits = num_splits
