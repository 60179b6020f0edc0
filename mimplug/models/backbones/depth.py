"""Stochastic depth that computes only the rows it keeps.

A row (a view of an image) whose draw falls below the rate leaves out a
branch of a block. The draws are keyed, so the host knows them as well as the
device does: rows are picked by index lists of known length, without waiting
for the device, and the branch runs on the others only.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from mimplug.draws.base import to_device


class KeptRows(NamedTuple):
    """Rows of a batch on which a branch runs.

    Args:
        rows (Tensor, optional): int64 (R,), ascending, R >= 1. None: all.
        factor (float): What the branch is multiplied by.
    """
    rows: Tensor | None
    factor: float


# Of one block: factors (M, 2) of its two branches, or the rows of each.
BlockDepth: TypeAlias = 'Tensor | tuple[KeptRows, KeptRows] | None'
# Of a network: draws (M, num_layers, 2) in [0, 1) on the device or the host.
DepthDraws: TypeAlias = 'Tensor | NDArray[np.floating] | None'


def drop_path_scale(uniform: Tensor, rate: float) -> Tensor:
    """Per-sample factors of stochastic depth.

    Args:
        uniform (Tensor): Draws in [0, 1), any shape.
        rate (float): Probability that a sample skips the branch, in [0, 1).

    Returns:
        Tensor: 0 where ``uniform < rate``, else ``1 / (1 - rate)``; same
        shape.
    """
    return (uniform >= rate).to(uniform.dtype) / (1.0 - rate)


def kept_rows(uniform: NDArray[np.floating], rates: Sequence[float],
              device: torch.device) -> list[tuple[KeptRows, KeptRows]]:
    """Which rows each branch of each block runs on.

    A branch that no row keeps runs on the first one with factor 0, so that
    its parameters always take part: gradients are zeros, not absent.

    Args:
        uniform (ndarray): Draws (M, num_layers, 2) in [0, 1), M >= 1.
        rates (Sequence[float]): Drop rate of each block, in [0, 1).
        device (torch.device): Where the indices are needed; they go there in
            one copy that nobody waits for.

    Returns:
        list[tuple[KeptRows, KeptRows]]: (attention, MLP) of each block.
    """
    kept = uniform >= np.asarray(rates, uniform.dtype)[:, None]
    chosen = [np.flatnonzero(column) for column in
              kept.reshape(len(kept), -1).T]
    factors = [float(len(rows) > 0) / (1.0 - rate)
               for rows, rate in zip(chosen, np.repeat(rates, 2).tolist())]
    # all rows need no index, no rows stand for the first
    lists = [rows[:0] if len(rows) == len(kept) else rows if len(rows)
             else np.zeros(1, np.int64) for rows in chosen]
    packed = to_device(np.concatenate(lists), device)
    indices = packed.split([len(rows) for rows in lists])
    rows = [KeptRows(index if len(index) else None, factor)
            for index, factor in zip(indices, factors)]
    return list(zip(rows[::2], rows[1::2]))


def depth_of_blocks(x: Tensor, uniform: DepthDraws, rates: Sequence[float],
                    *, skip: bool = True) -> list[BlockDepth]:
    """Stochastic depth of every block.

    Args:
        x (Tensor): (M, T, D), for its rows and device.
        uniform (Tensor | ndarray, optional): Draws (M, num_layers, 2) in
            [0, 1). None: PyTorch's global generator.
        rates (Sequence[float]): Drop rate of each block, in [0, 1).
        skip (bool): Leave dropped rows out where the host knows the draws,
            that is for an ndarray. Defaults to True.

    Returns:
        list: What :func:`add_branch` takes, for each block.
    """
    if isinstance(uniform, np.ndarray):
        if skip:
            return list(kept_rows(uniform, rates, x.device))
        uniform = to_device(uniform, x.device)
    if uniform is None:
        uniform = torch.rand(len(x), len(rates), 2, device=x.device)
    return list(map(drop_path_scale, uniform.unbind(1), rates))


def row_factors(depth: BlockDepth, x: Tensor) -> Tensor | None:
    """The factors (M, 2) that a block's depth amounts to, for M rows of x."""
    if depth is None or isinstance(depth, Tensor):
        return depth
    columns = []
    for index, factor in depth:
        if index is None:
            columns.append(x.new_full((len(x), ), factor))
        else:
            columns.append(x.new_zeros(len(x)).index_fill(0, index, factor))
    return torch.stack(columns, dim=1)


def add_branch(x: Tensor, branch: Callable[[Tensor], Tensor],
               depth: BlockDepth, place: int) -> Tensor:
    r"""Residual connection :math:`x + s\, f(x)` with stochastic depth.

    Args:
        x (Tensor): (M, T, D).
        branch (Callable): f, acting on each row by itself.
        depth (Tensor | tuple[KeptRows, KeptRows], optional): Of the block;
            None: s = 1.
        place (int): Which of the block's branches, 0 or 1.

    Returns:
        Tensor: (M, T, D).
    """
    if depth is None:
        return x + branch(x)
    if isinstance(depth, Tensor):
        out = branch(x)
        return torch.addcmul(x, out, depth[:, place, None, None].to(x.dtype))
    index, factor = depth[place]
    if index is None:
        return torch.add(x, branch(x), alpha=factor)
    part, x = _SplitRows.apply(x, index)
    result: Tensor = _MergeRows.apply(x, branch(part), index, factor)
    return result


class _SplitRows(torch.autograd.Function):
    """(x[index], x); backward adds both gradients in one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(index)
        return x.index_select(0, index), x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, part: Tensor, whole: Tensor
                 ) -> tuple[Tensor, None]:
        index, = ctx.saved_tensors
        return whole.index_add(0, index, part.to(whole.dtype)), None


class _MergeRows(torch.autograd.Function):
    """x with factor * part added to some rows; x is not copied twice."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, part: Tensor, index: Tensor,
                factor: float) -> Tensor:
        ctx.save_for_backward(index)
        ctx.factor, ctx.dtype = factor, part.dtype
        return x.index_add(0, index, part.to(x.dtype), alpha=factor)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor
                 ) -> tuple[Tensor, Tensor, None, None]:
        index, = ctx.saved_tensors
        part = grad.index_select(0, index).mul_(ctx.factor)
        return grad, part.to(ctx.dtype), None, None
