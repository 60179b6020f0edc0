"""Small tensor helpers around views and the tokens that losses ask for."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor

from mimplug.masking import Mask


def group_by_size(views: Sequence[Tensor]) -> list[Tensor]:
    """Joins consecutive views of one size.

    Args:
        views (Sequence[Tensor]): Each (B, 3, h, w).

    Returns:
        list[Tensor]: Each (n * B, 3, h, w), view-major.
    """
    return [torch.cat(list(group))
            for _, group in groupby(views, key=lambda view: view.shape[2:])]


def token_weights(mask: Mask, index: Tensor, valid: Tensor, *,
                  dtype: torch.dtype = torch.float32) -> Tensor:
    r"""Weights of hidden tokens in iBOT's mean.

    .. math:: w_r = 1 / (M \max(1, n_{row(r)}))

    with n the hidden tokens of a row. Rows without hidden tokens count in the
    mean over the M rows and contribute 0.

    Args:
        mask (Mask): Of M rows.
        index (Tensor): int64 (R,), hidden tokens in the flattened (M * L).
        valid (Tensor): Bool (R,), False on padding.
        dtype (torch.dtype): At least float32 is used.

    Returns:
        Tensor: (R,) floating point, 0 on padding.

    Source: ``iBOTLoss.forward`` of gkakogeorgiou/attmask.
    """
    rows, length = mask.tokens.shape
    count = mask.tokens.sum(1).clamp(min=1)
    row = index.div(length, rounding_mode='floor')
    dtype = torch.promote_types(dtype, torch.float32)
    return valid.to(dtype) / (count[row] * rows)
