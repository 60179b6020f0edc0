"""From scores to a mask.

A selection has two halves. The *order* of the tokens by score is found on the
device, with a stable sort, so that ties fall the same way everywhere (the
token that comes first in the row wins). Which *ranks* of that order are
hidden is decided on the host, where the counts are known without waiting for
the device. :func:`hide_ranks` joins the two.
"""
from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mimplug.draws import Draws, to_device
from mimplug.errors import check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.ratios import RatioSampler
from mimplug.registry import TASK_UTILS

Ranks = NDArray[np.bool_]
Counts = NDArray[np.int64]


def order_tokens(scores: torch.Tensor, descending: bool = True
                 ) -> torch.Tensor:
    """Returns (M, L) int64, the tokens of each row sorted by score.

    Args:
        scores (Tensor): (M, L) floats.
        descending (bool): Largest first. Defaults to True.
    """
    return torch.sort(
        scores, dim=1, descending=descending, stable=True).indices


def hide_ranks(order: torch.Tensor, ranks: Ranks) -> torch.Tensor:
    """Returns (M, L) bool: token ``order[i, j]`` hidden iff ``ranks[i, j]``.

    Args:
        order (Tensor): (M, L) int64 permutations.
        ranks (ndarray): (M, L) bool on the host.
    """
    flags = to_device(ranks, order.device)
    return torch.zeros_like(flags).scatter_(1, order, flags)


def first_ranks(counts: ArrayLike, length: int) -> Ranks:
    """Returns (M, L) bool, the first ``counts[i]`` ranks of each row.

    Args:
        counts (ndarray): (M,) integers; beyond ``length`` means all.
        length (int): L.
    """
    ranks: Ranks = np.arange(length) < np.asarray(counts)[:, None]
    return ranks


def select_top(scores: torch.Tensor, counts: ArrayLike) -> torch.Tensor:
    """Returns (M, L) bool, the ``counts[i]`` largest scores of each row.

    Args:
        scores (Tensor): (M, L) floats.
        counts (ndarray): (M,) integers on the host.

    Example:
        >>> select_top(torch.tensor([[3., 1., 2.]]), [2]).tolist()
        [[True, False, True]]
    """
    ranks = first_ranks(counts, scores.shape[1])
    return hide_ranks(order_tokens(scores), ranks)


def select_bottom(scores: torch.Tensor, counts: ArrayLike) -> torch.Tensor:
    """Returns (M, L) bool, the ``counts[i]`` smallest scores of each row.

    Args:
        scores (Tensor): (M, L) floats.
        counts (ndarray): (M,) integers on the host.
    """
    ranks = first_ranks(counts, scores.shape[1])
    return hide_ranks(order_tokens(scores, descending=False), ranks)


def gumbel_keys(scores: torch.Tensor, uniform: torch.Tensor,
                temperature: float = 1.0) -> torch.Tensor:
    r"""Returns scores whose ranking is a random draw without replacement.

    .. math:: key = s / T - \ln(-\ln u)

    The top k of the keys are k draws without replacement with probabilities
    proportional to :math:`\exp(s / T)`: T -> 0 gives the top k of ``scores``,
    T -> infinity a uniform choice.

    Args:
        scores (Tensor): (M, L) floats: logarithms of the weights.
        uniform (Tensor): (M, L) numbers of [0, 1).
        temperature (float): T > 0. Defaults to 1.

    Source: W. Kool et al., "Stochastic beams and where to find them",
    ICML 2019, section 2.3.
    """
    # Half of the smallest step between two draws: log 0 cannot occur.
    noise = -torch.log(-torch.log(uniform.clamp(min=2.0**-25)))
    return scores / temperature + noise.to(scores.dtype)


def draw_ranks(draws: Draws, name: str, counts: ArrayLike, length: int
               ) -> Ranks:
    """Returns (M, length) bool with ``counts[i]`` random ranks of each row.

    Args:
        draws (Draws): Random numbers of the M rows.
        name (str): Name of the draw.
        counts (ndarray): (M,) integers; beyond ``length`` means all.
        length (int): Number of ranks to draw from.
    """
    table = draws.host_uniform(name, length)
    order = np.argsort(-table, axis=1, kind='stable')
    ranks = np.zeros(table.shape, np.bool_)
    np.put_along_axis(ranks, order, first_ranks(counts, length), axis=1)
    return ranks


def apply_probability(draws: Draws, prob: float, name: str = 'apply'
                      ) -> Ranks:
    """Returns (M,) bool: the rows whose mask is kept, decided on the host.

    A row is kept iff not u > prob, with u uniform on [0, 1). No number is
    drawn for ``prob=1``.

    Args:
        draws (Draws): Random numbers of the M rows.
        prob (float): Probability in [0, 1].
        name (str): Name of the draw. Defaults to 'apply'.

    Source: ``attention_masking`` in ``attmask.py`` of gkakogeorgiou/attmask.
    """
    if prob >= 1:
        return np.ones(draws.rows, np.bool_)
    return ~(draws.row_uniform(name) > prob)


class Selector:
    """A rule that picks tokens by their rank; this one takes the first.

    Attributes:
        exact (bool): Whether as many tokens are hidden as the ratio asks
            for; otherwise fewer.
    """

    exact: bool = True

    def order(self, scores: torch.Tensor, context: MaskContext
              ) -> torch.Tensor:
        """Returns (M, L) int64, the tokens in the order of this rule.

        Args:
            scores (Tensor): (M, L) floats; the largest first by default.
            context (MaskContext): The batch.
        """
        return order_tokens(scores)

    def ranks(self, counts: Counts, context: MaskContext,
              ratio: RatioSampler) -> Ranks:
        """Returns (M, L) bool, the hidden ranks, on the host.

        Args:
            counts (ndarray): (M,) number of tokens to pick in each row.
            context (MaskContext): The batch.
            ratio (RatioSampler): For rules that need another ratio.
        """
        return first_ranks(counts, context.length)


@TASK_UTILS.register_module()
class TopSelector(Selector):
    """Hides the tokens with the largest scores."""


@TASK_UTILS.register_module()
class BottomSelector(Selector):
    """Hides the tokens with the smallest scores."""

    def order(self, scores: torch.Tensor, context: MaskContext
              ) -> torch.Tensor:
        return order_tokens(scores, descending=False)


@TASK_UTILS.register_module()
class HintSelector(Selector):
    r"""Hides the largest scores but reveals some of the very largest.

    Of the pool of the :math:`\lfloor L\, show\_max \rfloor` largest scores,
    :math:`\lfloor L s \rfloor` tokens stay visible, drawn without
    replacement (all of the pool if it is smaller). They are drawn as ranks,
    on the host, so the number of hidden tokens is known there.

    Args:
        show_max (float): Size of the pool as a share of the tokens, in
            [0, 1]. Defaults to 0.1.
        show_ratio (float, optional): s in [0, 1]. By default
            :math:`s = show\_max \cdot r` with a second, independent draw r
            ('show_ratio') of the mask's ratio, as the reference does.

    Source: ``show_hints`` in ``attmask.py`` of gkakogeorgiou/attmask.
    """

    exact = False

    def __init__(self, show_max: float = 0.1,
                 show_ratio: float | None = None) -> None:
        check_range('show_max', show_max, 0.0, 1.0)
        if show_ratio is not None:
            check_range('show_ratio', show_ratio, 0.0, 1.0)
        self.show_max, self.show_ratio = show_max, show_ratio

    def ranks(self, counts: Counts, context: MaskContext,
              ratio: RatioSampler) -> Ranks:
        ranks = first_ranks(counts, context.length)
        pool = int(self.show_max * context.length)
        if self.show_ratio is None:
            shares = self.show_max * ratio(context, 'show_ratio')
        else:
            shares = np.full(context.rows, self.show_ratio)
        shown = (shares * context.length).astype(np.int64)
        ranks[:, :pool] &= ~draw_ranks(context.draws, 'reveal', shown, pool)
        return ranks


@TASK_UTILS.register_module()
class GumbelSelector(Selector):
    """Draws tokens without replacement, large scores more likely.

    Args:
        temperature (float): T > 0 of :func:`gumbel_keys`; small values come
            close to :class:`TopSelector`. Defaults to 1.
        keep (bool): The tokens drawn first are those that stay visible, and
            the rest is hidden. Defaults to False: they are hidden.

    Source: see :func:`gumbel_keys`.
    """

    def __init__(self, temperature: float = 1.0, keep: bool = False) -> None:
        check_range('temperature', temperature, 1e-12, float('inf'))
        self.temperature, self.keep = temperature, keep

    def order(self, scores: torch.Tensor, context: MaskContext
              ) -> torch.Tensor:
        uniform = context.draws.uniform(
            'gumbel', context.length, device=scores.device)
        return order_tokens(
            gumbel_keys(scores, uniform, self.temperature),
            descending=not self.keep)
