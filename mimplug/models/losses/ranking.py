"""Learning which tokens are harder than others."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .clustering import at_least_float32


def spread_tokens(values: Tensor, index: Tensor, valid: Tensor,
                  shape: tuple[int, int]) -> Tensor:
    """Puts values of some tokens back to their places, zeros elsewhere.

    Args:
        values (Tensor): (R,).
        index (Tensor): int64 (R,) into the flattened (M * L) tokens.
        valid (Tensor): Bool (R,), False on padding.
        shape (tuple[int, int]): (M, L).

    Returns:
        Tensor: (M, L); gradients flow to the valid values.
    """
    cells = shape[0] * shape[1]
    # padding goes to one more cell, which is cut off
    place = torch.where(valid, index, cells)
    flat = values.new_zeros(cells + 1).index_put((place, ), values)
    return flat[:cells].view(shape)


def pairwise_ranking_loss(predicted: Tensor, target: Tensor,
                          hidden: Tensor) -> Tensor:
    r"""Binary cross-entropy of the order of all pairs of a row.

    .. math::
        \frac{1}{|P|} \sum_{(i, j) \in P} -\log \sigma(d_i - d_j), \quad
        P = \{(i, j): hidden,\ t_i > t_j\}

    over all rows together. The reference takes every pair in both orders,
    which gives the same mean, and adds 1e-6 to the sigmoid where the
    logarithm here is exact. Holds a few tensors of M L L numbers.

    Args:
        predicted (Tensor): d, (M, L).
        target (Tensor): t, (M, L).
        hidden (Tensor): Bool (M, L), tokens that count.

    Returns:
        Tensor: Scalar; exactly 0 without a pair.

    Source: ``forward_learning_loss`` of Haochen-Wang409/HPM (Wang et al.,
    CVPR 2023, section 3.3).
    """
    predicted = at_least_float32(predicted)
    pair = hidden[:, :, None] & hidden[:, None, :]
    pair &= target[:, :, None] > target[:, None, :]
    terms = F.softplus(predicted[:, None, :] - predicted[:, :, None])
    return torch.where(pair, terms, 0.0).sum() / pair.sum().clamp(min=1)


def standardised_loss(predicted: Tensor, target: Tensor,
                      hidden: Tensor) -> Tensor:
    r"""Mean squared error to targets of mean 0 and variance 1 in each row.

    .. math:: \frac{1}{n} \sum_i \left(d_i - \frac{t_i - \mu}
        {\sqrt{\sigma^2 + 10^{-6}}} \right)^2

    Args:
        predicted (Tensor): d, (M, L).
        target (Tensor): t, (M, L).
        hidden (Tensor): Bool (M, L), the n tokens that count.

    Returns:
        Tensor: Scalar; exactly 0 if no token counts.

    Source: the absolute form of Haochen-Wang409/HPM.
    """
    weight = hidden.to(at_least_float32(target).dtype)
    number = weight.sum(1, keepdim=True).clamp(min=1)
    mean = (target * weight).sum(1, keepdim=True) / number
    centred = (target - mean) * weight
    variance = centred.square().sum(1, keepdim=True) / number
    error = at_least_float32(predicted) - centred * (variance + 1e-6).rsqrt()
    return (error.square() * weight).sum() / weight.sum().clamp(min=1)
