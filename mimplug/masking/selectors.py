"""Selection rules of single papers, beside those of ``select.py``."""
from __future__ import annotations

import numpy as np
import torch

from mimplug.errors import check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.ratios import RatioSampler
from mimplug.masking.select import (
    Counts,
    Ranks,
    Selector,
    first_ranks,
    order_tokens,
)
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class ThinnedSelector(Selector):
    """Hides each of the smallest (or largest) scores with a probability.

    The ratio says how many tokens are candidates. Chances are drawn for
    ranks, on the host, so the number of hidden tokens is known there.
    Draws: 'thin'.

    Args:
        prob (float): Probability that a candidate is hidden, in [0, 1].
        lowest (bool): The smallest scores are candidates. Defaults to True.
    """

    exact = False

    def __init__(self, prob: float, lowest: bool = True) -> None:
        check_range('prob', prob, 0.0, 1.0)
        self.prob, self.lowest = prob, lowest

    def order(self, scores: torch.Tensor, context: MaskContext
              ) -> torch.Tensor:
        return order_tokens(scores, descending=not self.lowest)

    def ranks(self, counts: Counts, context: MaskContext,
              ratio: RatioSampler) -> Ranks:
        chance = context.draws.host_uniform('thin', context.length)
        hidden: Ranks = (
            first_ranks(counts, context.length) & (chance < self.prob))
        return hidden


@TASK_UTILS.register_module()
class EasyToHardSelector(Selector):
    r"""Hides a growing share by score and the rest at random.

    Of k tokens :math:`\lfloor \alpha k \rfloor` are those with the largest
    scores, the others are drawn from all that remain, with

    .. math:: \alpha = \alpha_0 + (\alpha_1 - \alpha_0)\, (e + 1) / E

    in epoch e of E. Draws: 'easy'.

    Args:
        end (float): :math:`\alpha_1` in [0, 1]. Defaults to 0.5.
        start (float): :math:`\alpha_0` in [0, 1]. Defaults to 0.

    Source: Wang et al., HPM, CVPR 2023 (arXiv 2304.05919).
    """

    def __init__(self, end: float = 0.5, start: float = 0.0) -> None:
        check_range('end', end, 0.0, 1.0)
        check_range('start', start, 0.0, 1.0)
        self.start, self.end = start, end

    def ranks(self, counts: Counts, context: MaskContext,
              ratio: RatioSampler) -> Ranks:
        progress = context.progress
        done = min(1.0, (progress.epoch + 1) / max(1, progress.max_epochs))
        share = self.start + (self.end - self.start) * done
        top = first_ranks((counts * share).astype(np.int64), context.length)
        keys = context.draws.host_uniform('easy', context.length) + 1.0 * top
        order = np.argsort(-keys, axis=1, kind='stable')
        ranks = np.zeros_like(top)
        np.put_along_axis(
            ranks, order, first_ranks(counts, context.length), axis=1)
        return ranks
