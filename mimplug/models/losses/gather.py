"""Rows of all ranks, with the gradient of all ranks."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from torch import Tensor


class _Gather(torch.autograd.Function):
    """All-gather whose backward adds what all ranks want of a row."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        """(…) -> (world, …)."""
        return torch.stack(all_gather(rows.contiguous()))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Own rows of the sum over ranks."""
        grad = grad.contiguous()
        all_reduce(grad)
        return grad[get_rank()]


def gather_with_grad(rows: Tensor) -> Tensor:
    r"""Collects the rows of all ranks; gradients flow back to all of them.

    Each rank's loss is a mean over its own anchors. With the sum over ranks
    here and the mean over ranks of data-parallel training, the gradient is
    that of the mean loss over all anchors, as in one process. MMPretrain's
    ``GatherLayer`` keeps a rank's own part only.

    Args:
        rows (Tensor): (..., B, D), of one shape on all ranks.

    Returns:
        Tensor: (..., W B, D), rank by rank. With one process the input.
    """
    if get_world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return torch.cat(gathered.unbind(), dim=-2)
