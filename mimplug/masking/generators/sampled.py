"""Masks drawn with chances that attention gives: MST, MILAN, AMT."""
from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from mimplug.errors import ConfigError, check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import MaskGenerator, ScoreMask
from mimplug.masking.generators.inverse import kept_counts
from mimplug.masking.mask import Mask
from mimplug.masking.needs import Needs
from mimplug.masking.ratios import RatioLike, Ratios
from mimplug.masking.scores import fuse_heads
from mimplug.masking.select import (
    Counts,
    GumbelSelector,
    first_ranks,
    gumbel_keys,
    hide_ranks,
    order_tokens,
)
from mimplug.masking.selectors import ThinnedSelector
from mimplug.registry import TASK_UTILS

# Weights below it count as it: a logarithm of 0 would not be a number.
SMALLEST = 1e-12


@TASK_UTILS.register_module()
class MSTMask(ScoreMask):
    r"""MST: hides some of the patches that the teacher attends to least.

    Of L patches the :math:`\lfloor L\, share \rfloor` with the smallest
    attention of the CLS token (heads averaged) are candidates, and each one
    is hidden with probability ``prob``; what the image is about stays
    visible. Draws: 'thin'.

    Args:
        share (RatioSampler | float | Sequence | dict): 1 / K of the paper.
            No default: the published number was not verified.
        prob (float): p in [0, 1]; no default, for the same reason.
        layer (int): Layer of the teacher; negative ones count from the end.
            Defaults to -1.

    Raises:
        ConfigError: If a number is out of range.

    Provenance: memory. Source: Li et al., MST, NeurIPS 2021
    (arXiv 2106.05656). The paper's decoder that restores the image is no
    part of a mask.
    """

    provenance = 'memory'
    examples: ClassVar = ({'share': 0.5, 'prob': 0.5},
                          {'share': (0.5, 0.2), 'prob': 0.8, 'layer': 0})

    def __init__(self, share: RatioLike, prob: float, *, layer: int = -1
                 ) -> None:
        super().__init__(share, select=ThinnedSelector(prob))
        self.layer, self.needs = layer, Needs(cls_rows=(layer, ))

    def scores(self, context: MaskContext) -> torch.Tensor:
        return fuse_heads(context.cls_rows(self.layer))


@TASK_UTILS.register_module()
class MILANMask(ScoreMask):
    r"""MILAN: attended patches stay visible, by chance.

    The :math:`\lfloor L (1 - r) \rfloor` visible patches are drawn without
    replacement, with probabilities proportional to the attention of the CLS
    token (heads averaged). Draws: 'apply', 'gumbel', 'ratio'.

    Args:
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to the
            published 0.75.
        temperature (float): Attention is taken to the power 1 / temperature,
            > 0. Defaults to 1, as published.
        layer (int): Layer of the teacher; negative ones count from the end.
            Defaults to -1.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range.

    Provenance: code. Source: Hou et al., MILAN (arXiv 2208.06049) and
    MMPretrain's. There the attention is that of a frozen CLIP encoder; here
    it is the teacher's.
    """

    provenance = 'code'
    examples: ClassVar = ({}, {'ratio': (0.5, 0.3), 'temperature': 0.5,
                               'layer': 0, 'apply_prob': 0.5})

    def __init__(self, ratio: RatioLike = 0.75, *, temperature: float = 1.0,
                 layer: int = -1, apply_prob: float = 1.0) -> None:
        super().__init__(
            ratio, apply_prob=apply_prob,
            select=GumbelSelector(temperature, keep=True))
        self.layer, self.needs = layer, Needs(cls_rows=(layer, ))

    def counts(self, ratios: Ratios, grid: tuple[int, int]) -> Counts:
        length = grid[0] * grid[1]
        return length - kept_counts(ratios, length)

    def scores(self, context: MaskContext) -> torch.Tensor:
        attention = fuse_heads(context.cls_rows(self.layer))
        return attention.clamp(min=SMALLEST).log()


@TASK_UTILS.register_module()
class AMTMask(MaskGenerator):
    r"""AMT: attended patches are hidden or thrown away, by chance.

    With the attention :math:`a_h` of the CLS token in head h,

    .. math:: w = \frac1H \sum_h
        \frac{a_h - \min a_h}{\max a_h - \min a_h}

    all L patches are drawn one after the other without replacement, with
    probabilities proportional to w. The first :math:`\lfloor L r \rfloor`
    are hidden, those up to :math:`\lfloor L (r + t) \rfloor` are dropped
    (neither seen nor predicted), the others are seen. In the first epochs
    random patches are hidden and none dropped. Draws: 'gumbel'; 'random' in
    these epochs.

    Args:
        ratio (float): r. Defaults to the published 0.45.
        throw (float): t, with r + t < 1. Defaults to the published 0.4.
        layer (int): Layer of the teacher; negative ones count from the end.
            Defaults to -1.
        random_epochs (int): Epochs of random masks. Defaults to 0; the
            published runs have 41, in which no weights are at hand yet.
        random_ratio (float): Share that is hidden in them. Defaults to the
            published 0.75.

    Raises:
        ConfigError: If a number is out of range, or r + t is not below 1.

    Provenance: code. Source: Liu et al., AMT, AAAI 2023 (arXiv 2211.15362),
    guijiejie/AMT. There the weights are maps of whole images, renewed every
    40 epochs and cropped; here they are the teacher's of this very view.
    """

    provenance = 'code'
    exact_count = True
    drops = True
    examples: ClassVar = (
        {}, {'ratio': 0.3, 'throw': 0.3, 'layer': 0},
        {'random_epochs': 1, 'random_ratio': 0.5})

    def __init__(self, ratio: float = 0.45, throw: float = 0.4, *,
                 layer: int = -1, random_epochs: int = 0,
                 random_ratio: float = 0.75) -> None:
        check_range('ratio', ratio, 0.0, 1.0)
        check_range('throw', throw, 0.0, 1.0)
        check_range('random_ratio', random_ratio, 0.0, 1.0)
        check_range('random_epochs', random_epochs, 0, float('inf'))
        if ratio + throw >= 1:
            raise ConfigError(
                f'ratio={ratio}, throw={throw}: their sum must be below 1, '
                'or nothing would be seen')
        self.ratio, self.throw = ratio, throw
        self.random_epochs, self.random_ratio = random_epochs, random_ratio
        self.layer, self.needs = layer, Needs(cls_rows=(layer, ))

    def _counts(self, length: int, epoch: int) -> tuple[int, int]:
        """How many are hidden, and how many hidden or dropped."""
        if epoch < self.random_epochs:
            number = int(length * self.random_ratio)
            return number, number
        return int(length * self.ratio), int(
            length * (self.ratio + self.throw))

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        length = grid[0] * grid[1]
        counts = [self._counts(length, self.random_epochs)[0]]
        if self.random_epochs:
            counts.append(self._counts(length, 0)[0])
        return min(counts), max(counts)

    def drop_counts(self, grid: tuple[int, int]) -> dict[int, int]:
        hidden, gone = self._counts(grid[0] * grid[1], self.random_epochs)
        start = {0: 0} if self.random_epochs else {}
        return {**start, self.random_epochs: gone - hidden}

    def weights(self, context: MaskContext) -> torch.Tensor:
        """Returns w, (M, L) of [0, 1]."""
        attention = context.cls_rows(self.layer)
        if attention.dtype in (torch.float16, torch.bfloat16):
            attention = attention.float()
        low, high = attention.aminmax(dim=2, keepdim=True)
        return ((attention - low)
                / (high - low).clamp(min=SMALLEST)).mean(1)

    def __call__(self, context: MaskContext) -> Mask:
        rows, length = context.rows, context.length
        epoch = context.progress.epoch
        hidden, gone = self._counts(length, epoch)
        if epoch < self.random_epochs:
            keys = context.draws.uniform(
                'random', length, device=context.device)
        else:
            keys = gumbel_keys(
                self.weights(context).clamp(min=SMALLEST).log(),
                context.draws.uniform(
                    'gumbel', length, device=context.device))
        order = order_tokens(keys)
        ranks = first_ranks(np.full(rows, hidden), length)
        others = first_ranks(np.full(rows, gone), length) & ~ranks
        states = [hide_ranks(order, part).reshape(rows, 1, *context.grid)
                  for part in (ranks, others)]
        return Mask(states[0], states[1], capacity=rows * hidden,
                    num_dropped=gone - hidden)
