"""Norms of gradients, clipping, and losses that tell when they are broken."""
from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch import distributed as torch_dist

from mimplug.models.teacher import local_shards


def tensor_norms(grads: list[Tensor]) -> Tensor:
    """L2 norm of each gradient, in float32 or, for float64, in float64.

    A norm is finite if all entries are (unless their squares overflow, which
    nobody wants to step on either), so this is also the guard's look at every
    number: one pass over the gradients.

    DDP has made gradients equal on all ranks, a poisoned loss included, so
    norms need no communication. Of sharded parameters each rank sees a part:
    there one all-reduce of T numbers gives all ranks the norms of the whole
    tensors, and with them the same decision.

    Args:
        grads (list[Tensor]): T >= 1 gradients of any shape, on one device;
            all of them sharded alike, or none.

    Returns:
        Tensor: (T,), an ordinary tensor, equal on all ranks.
    """
    dtype = functools.reduce(
        torch.promote_types, {grad.dtype for grad in grads}, torch.float32)
    norms = torch.stack(torch._foreach_norm(local_shards(grads), 2, dtype))
    for axis, placement in enumerate(getattr(grads[0], 'placements', ())):
        if placement.is_shard():
            squares = norms.square()
            mesh = grads[0].device_mesh  # type: ignore[attr-defined]
            torch_dist.all_reduce(squares, group=mesh.get_group(axis))
            norms = squares.sqrt()
    return norms


def clip_grads_(grads: list[Tensor], max_norm: float, *, per_tensor: bool,
                norms: Tensor | None = None) -> Tensor:
    r"""Scales gradients in place so that norms stay below a limit.

    .. math:: g \leftarrow g \cdot \min(1, c / (\lVert g \rVert_2 + 10^{-6}))

    Args:
        grads (list[Tensor]): Gradients, any shapes; at least one.
        max_norm (float): c > 0.
        per_tensor (bool): Each tensor by its own norm (DINO, iBOT, Mugs), or
            all by the norm of their concatenation.
        norms (Tensor, optional): (T,) of :func:`tensor_norms`, if known.

    Returns:
        Tensor: Norm of all gradients together before clipping, scalar on the
        device.

    Source: ``utils.clip_gradients`` of gkakogeorgiou/attmask.
    """
    if norms is None:
        norms = tensor_norms(grads)
    total: Tensor = norms.norm()
    limit = norms if per_tensor else total
    factors = (max_norm / (limit + 1e-6)).clamp(max=1.0)
    shards = local_shards(grads)
    if per_tensor:
        torch._foreach_mul_(shards, list(factors.unbind()))
    elif {grad.dtype for grad in shards} == {factors.dtype}:
        # one factor for all: few kernels for many tensors
        torch._foreach_mul_(shards, factors)
    else:
        torch._foreach_mul_(shards, [factors] * len(shards))
    return total


def poison(loss: Tensor) -> Tensor:
    r"""A constant that is 1 for a finite loss, else NaN.

    .. math:: 1 + 0 \cdot L

    A broken loss can have finite gradients (an overflow to infinity, a NaN
    behind a constant). Times this factor it cannot, wherever they are not
    zero, and the sum over ranks and micro-batches tells everybody.

    Args:
        loss (Tensor): Scalar.

    Returns:
        Tensor: Scalar without gradient.
    """
    return 1 + 0 * loss.detach()
