"""InfoNCE with a queue, hard negatives and several weighted positives."""
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mimplug.errors import ConfigError, check_choice
from mimplug.registry import MODELS

from .clustering import at_least_float32

HARD_NEGATIVES = ('per_sample', 'first_image')


class _QueueLogSumExp(torch.autograd.Function):
    """log sum_j exp(q . n_j) of each query against constant rows.

    The gradient of one query is the softmax-weighted mean row. It is taken
    while the logits are at hand, so (M, D) numbers wait for the backward
    instead of (M, K) logits and an intact queue.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, queue: Tensor) -> Tensor:
        """Shapes: query (M, D), queue (K, D) -> (M,)."""
        logits = query @ queue.T
        peak = logits.amax(dim=1, keepdim=True)
        weights = logits.sub_(peak).exp_()
        total = weights.sum(dim=1, keepdim=True)
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward((weights @ queue).div_(total))
        return (total.log() + peak).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """Chain rule with the stored mean row."""
        (mean_row,) = ctx.saved_tensors
        return grad.unsqueeze(1) * mean_row, None


def info_nce_logits(query: Tensor, positive: Tensor,
                    queue: Tensor | None = None, *,
                    temperature: float = 0.2, hard: Tensor | None = None,
                    alpha: float = 1.0) -> Tensor:
    r"""All logits of one positive a query, for metrics and pictures.

    .. math::
        [\, q \cdot k,\; q \cdot n_1 \dots q \cdot n_K,\;
        \alpha\, q \cdot t_1 \dots \alpha\, q \cdot t_n ] / T

    Args:
        query (Tensor): q, (..., B, D).
        positive (Tensor): k, (..., B, D).
        queue (Tensor, optional): n, (K, D).
        temperature (float): T > 0. Defaults to 0.2.
        hard (Tensor, optional): t, broadcastable to (..., B, n, D).
        alpha (float): Factor on hard logits. Defaults to 1.

    Returns:
        Tensor: (..., B, 1 + K + n); the positive is column 0.

    Source: ``MoCo.forward`` of joycenerd/Saliency-Guided-Masking-for-ConvNets
    ``moco/builder.py``.
    """
    parts = [(query * positive).sum(dim=-1, keepdim=True)]
    if queue is not None:
        parts.append(query @ queue.T)
    if hard is not None:
        parts.append(alpha * _dot(query, hard))
    return torch.cat(parts, dim=-1) / temperature


def info_nce_terms(query: Tensor, positives: Tensor,
                   queue: Tensor | None = None, *, temperature: float = 0.2,
                   hard: Tensor | None = None, alpha: float = 1.0) -> Tensor:
    r"""One InfoNCE term for every query and each of its positives.

    .. math::
        \ell_{ip} = -\log \frac{e^{q_i \cdot k_{ip} / T}}
        {e^{q_i \cdot k_{ip} / T} + \sum_j e^{q_i \cdot n_j / T}
        + \sum_j e^{\alpha\, q_i \cdot t_{ij} / T}}

    Each positive competes with the negatives only, never with the other
    positives. All queries meet the queue in one matrix product, whose result
    serves all positives; nothing of the queue is kept for the backward, so it
    may be overwritten at once. Computed outside autocast in float32, in
    float64 for float64 input.

    Args:
        query (Tensor): q, (..., B, D), unit length in all published uses.
        positives (Tensor): k, broadcastable to (..., B, P, D).
        queue (Tensor, optional): n, (K, D), a constant.
        temperature (float): T > 0. Defaults to 0.2.
        hard (Tensor, optional): t, broadcastable to (..., B, n, D).
        alpha (float): Factor on hard logits (not a weight on their
            exponential). Defaults to 1.

    Returns:
        Tensor: (..., B, P). ``exp(-term)`` is the share of the positive.

    Raises:
        ValueError: Neither queue nor hard negatives, or a queue that wants a
            gradient.
    """
    if queue is None and hard is None:
        raise ValueError('InfoNCE without queue and without hard negatives '
                         'has no negative: pass at least one of them')
    if queue is not None and queue.requires_grad:
        raise ValueError('queue.requires_grad=True: the queue is a constant '
                         'here; pass negatives with gradient as `hard`')
    with torch.autocast(query.device.type, enabled=False):
        scaled = at_least_float32(query) / temperature
        logit = _dot(scaled, at_least_float32(positives))
        negatives = []
        if queue is not None:
            against = _QueueLogSumExp.apply(
                scaled.flatten(0, -2), queue.to(scaled.dtype))
            negatives.append(against.unflatten(0, scaled.shape[:-1]))
        if hard is not None:
            similar = _dot(scaled, at_least_float32(hard)) * alpha
            negatives.append(similar.logsumexp(dim=-1))
        rest = negatives[0]
        if len(negatives) == 2:
            rest = torch.logaddexp(*negatives)
        # log(1 + e^(rest - logit)) without cancellation for easy positives.
        return -nn.functional.logsigmoid(logit - rest.unsqueeze(-1))


def multi_view_weights(num_targets: int, num_queries: int,
                       num_large: int = 2) -> list[list[float]]:
    r"""Weights of the terms between student crops and teacher views.

    Crop p meets every view :math:`t \ne p`. The terms of the large crops
    (p < ``num_large``) are averaged, so are those of the small ones, and the
    groups that have a term count equally. With 2 views, 2 large crops and L
    small ones: 1/4 for each of 2 terms and 1/(4 L) for each of 2 L; without
    small crops 1/2 for each of 2 (the reference divides by zero there).

    Args:
        num_targets (int): Teacher views.
        num_queries (int): Student crops, large ones first.
        num_large (int): Large crops. Defaults to 2.

    Returns:
        list[list[float]]: ``weights[p][t]``, sum 1, diagonal 0.

    Raises:
        ConfigError: No pair is left.

    Source: ``InfoNCELoss.forward`` and ``ClusteringLoss.forward`` of
    sail-sg/mugs ``src/loss.py``.

    Example:
        >>> multi_view_weights(2, 3)
        [[0.0, 0.25], [0.25, 0.0], [0.25, 0.25]]
    """
    sizes = [
        sum(t != p for p in crops for t in range(num_targets))
        for crops in (range(min(num_large, num_queries)),
                      range(num_large, num_queries))]
    num_groups = sum(size > 0 for size in sizes)
    if num_groups == 0:
        raise ConfigError(
            f'num_targets={num_targets}, num_queries={num_queries}: no crop '
            'meets another view; allowed is at least one pair')
    return [
        [0.0 if t == p else 1 / (num_groups * sizes[p >= num_large])
         for t in range(num_targets)] for p in range(num_queries)]


@MODELS.register_module()
class InfoNCE(nn.Module):
    r"""Contrastive loss of queries against weighted positives and a queue.

    .. math::
        L = \sum_{\ldots} \frac{1}{B} \sum_{i} \sum_p w_{ip}\, \ell_{ip}

    with :math:`\ell` of :func:`info_nce_terms`. The axis before the last is
    the batch and is averaged; leading axes (kinds of queries, crops) are
    summed, their weights are in ``w``:

    - MoCo, saliency masking: query (B, D), positives (B, D), ``hard``.
    - MixMask: query (2, B, D) = clean and mixed; positives (B, 2, D) = own
      key and partner's key; weights [[1, 0], [lam, 1 - lam]] as (2, 1, 2).
    - Mugs: query (V, B, D); positives (B, 2, D) = teacher views; weights
      :func:`multi_view_weights` as (V, 1, 2).

    Args:
        temperature (float): T > 0. Defaults to 0.2.
        alpha (float): Factor on the logits of hard negatives. Defaults to 1.
        hard_negative (str): ``'per_sample'``: each query has its own, as
            published. ``'first_image'``: as released, where the first n
            images of the batch, not the n masks of an image, give the
            negatives of every query. Defaults to ``'per_sample'``.

    Raises:
        ConfigError: A value out of range.

    Source: ``moco/builder.py`` of joycenerd/Saliency-Guided-Masking-for-
    ConvNets (arXiv 2309.12757) and of kirill-vish/MixMask (arXiv 2210.11456),
    ``src/loss.py`` of sail-sg/mugs (arXiv 2203.14415).
    """

    def __init__(self, temperature: float = 0.2, alpha: float = 1.0,
                 hard_negative: str = 'per_sample') -> None:
        super().__init__()
        for name, value in (('temperature', temperature), ('alpha', alpha)):
            if not value > 0:
                raise ConfigError(f'{name}={value!r}: allowed is > 0')
        check_choice('hard_negative', hard_negative, HARD_NEGATIVES)
        self.temperature = temperature
        self.alpha = alpha
        self.hard_negative = hard_negative

    def forward(self, query: Tensor, positives: Tensor,
                queue: Tensor | None = None, *, hard: Tensor | None = None,
                weights: Tensor | None = None) -> Tensor:
        """Returns the loss, a 0-d tensor.

        Args:
            query (Tensor): (..., B, D).
            positives (Tensor): (B, D) or broadcastable to (..., B, P, D).
            queue (Tensor, optional): (K, D), e.g. ``memory.rows``.
            hard (Tensor, optional): (B, n, D).
            weights (Tensor, optional): w, broadcastable to (..., B, P).
                Defaults to 1 / P.
        """
        terms = self.terms(query, positives, queue, hard=hard)
        if weights is None:
            return terms.mean(dim=(-2, -1)).sum()
        return (terms * weights).sum(dim=-1).mean(dim=-1).sum()

    def terms(self, query: Tensor, positives: Tensor,
              queue: Tensor | None = None, *,
              hard: Tensor | None = None) -> Tensor:
        """The unweighted terms, (..., B, P); arguments as in forward."""
        if positives.dim() == 2:
            positives = positives.unsqueeze(-2)
        return info_nce_terms(
            query, positives, queue, temperature=self.temperature,
            hard=self.shared_hard(hard), alpha=self.alpha)

    def logits(self, query: Tensor, positive: Tensor,
               queue: Tensor | None = None, *,
               hard: Tensor | None = None) -> Tensor:
        """All logits, (B, 1 + K + n), see :func:`info_nce_logits`."""
        return info_nce_logits(
            query, positive, queue, temperature=self.temperature,
            hard=self.shared_hard(hard), alpha=self.alpha)

    def shared_hard(self, hard: Tensor | None) -> Tensor | None:
        """Hard negatives (B, n, D) as the option wants them."""
        if hard is None or self.hard_negative == 'per_sample':
            return hard
        return hard[:hard.shape[1], 0].unsqueeze(0)


def _dot(query: Tensor, rows: Tensor) -> Tensor:
    """(..., D) with (..., n, D) -> (..., n), leading axes broadcast."""
    return torch.einsum('...d,...nd->...n', query, rows)
