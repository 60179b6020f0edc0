"""Shuffled batches: batch norms of the key encoder see other neighbours."""
from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mmengine.dist import all_gather, get_rank, get_world_size
from torch import Tensor

from mimplug.draws import Draws, to_device


def shuffle_order(draws: Draws, name: str, batch_size: int,
                  device: torch.device) -> Tensor:
    """A random order of the images of all ranks, the same on each.

    Args:
        draws (Draws): Random numbers of the batch.
        name (str): Name of the draw: W B numbers, whose ranks are the order.
        batch_size (int): B, images of a rank.
        device (torch.device): Where it is needed.

    Returns:
        Tensor: (W B,) int64; rank r works on its r-th part.
    """
    table = draws.host_batch_table(name, get_world_size() * batch_size)
    return to_device(np.argsort(table, kind='stable'), device)


def encode_shuffled(encode: Callable[[Tensor], Tensor], images: Tensor,
                    order: Tensor | None) -> Tensor:
    """Encodes the images of all ranks in another order, on other ranks.

    A positive pair then no longer shares the statistics of a batch norm,
    which would give it away.

    Args:
        encode (Callable): (B, ...) -> (B, D), without gradient.
        images (Tensor): (B, ...), of one shape on all ranks.
        order (Tensor, optional): From :func:`shuffle_order`. None: as they
            are.

    Returns:
        Tensor: (B, D) of the images as they were given.

    Source: ``_batch_shuffle_ddp`` in ``moco/builder.py`` of
    facebookresearch/moco, which draws on rank 0 and broadcasts.
    """
    if order is None:
        return encode(images)
    parts = order.view(get_world_size(), -1)
    features = encode(torch.cat(all_gather(images))[parts[get_rank()]])
    back = torch.argsort(order).view_as(parts)[get_rank()]
    return torch.cat(all_gather(features))[back]
