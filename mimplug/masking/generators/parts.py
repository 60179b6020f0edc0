"""Masks of the parts of an image, found by clustering features (SemMAE)."""
from __future__ import annotations

from typing import ClassVar

import torch

from mimplug.draws import to_device
from mimplug.errors import ConfigError, check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import ScoreMask
from mimplug.masking.needs import Needs
from mimplug.masking.ratios import RatioLike
from mimplug.masking.select import order_tokens
from mimplug.registry import TASK_UTILS


def cluster_tokens(features: torch.Tensor, first: torch.Tensor,
                   num_parts: int, iterations: int) -> torch.Tensor:
    r"""Clusters the tokens of every row by the angle of their features.

    k-means on the unit sphere. The first centre is a given token, each next
    one the token farthest from all centres so far. A centre enters only
    through its cosines with the tokens, which follow from those among tokens:
    with :math:`s_p = \sum_{l \in p} x_l`,

    .. math:: \cos(x_l, s_p) = \sum_{m \in p} x_l \cdot x_m / |s_p|

    Everything runs in float64, so that devices agree; no step waits for the
    device.

    Args:
        features (Tensor): (M, L, D).
        first (Tensor): (M,) int64, token that is the first centre.
        num_parts (int): P <= L.
        iterations (int): Number of assignments, >= 1.

    Returns:
        Tensor: (M, L) int64 in 0, …, P - 1; some parts may be empty.
    """
    cosine = _cosines(features.double())
    rows = torch.arange(len(cosine), device=cosine.device)
    nearest = cosine[rows, first]
    columns = [nearest]
    for _ in range(num_parts - 1):
        columns.append(cosine[rows, nearest.argmin(1)])
        nearest = torch.maximum(nearest, columns[-1])
    close = torch.stack(columns, 2)
    for _ in range(iterations - 1):
        member = _membership(close.argmax(2), num_parts).to(cosine.dtype)
        total = cosine @ member
        length = (member * total).sum(1, keepdim=True).clamp(min=0).sqrt()
        # an empty part stays where it was
        close = torch.where(length > 1e-9, total / length, close)
    return close.argmax(2)


def _cosines(tokens: torch.Tensor) -> torch.Tensor:
    """(M, L, L) cosines among the tokens (M, L, D) of a row."""
    product = tokens @ tokens.transpose(1, 2)
    inverse = product.diagonal(dim1=1, dim2=2).clamp(min=1e-24).rsqrt()
    return product * inverse[:, :, None] * inverse[:, None, :]


def _membership(labels: torch.Tensor, num_parts: int) -> torch.Tensor:
    """(M, L, P) int64 of 0 and 1; torch's own one_hot looks at the labels."""
    parts = torch.arange(num_parts, device=labels.device)
    return (labels[..., None] == parts).long()


@TASK_UTILS.register_module()
class PartMask(ScoreMask):
    r"""SemMAE: first a portion of every part, later whole parts.

    Of part p with :math:`N_p` tokens

    .. math:: n_p = round(\lambda\, n'_p + (1 - \lambda)\, n''_p), \quad
        \lambda = 1 - ((e + 1) / E)^q

    tokens are hidden, with :math:`n'_p = round(r N_p)`, and :math:`n''_p`
    what is left for p of a budget of :math:`\lfloor L r \rfloor` tokens when
    whole parts are hidden in random order, in epoch e of E. Which ones is
    drawn; and so are as many more, or fewer, as make
    :math:`\lfloor L r \rfloor`. Draws: 'apply', 'part/first', 'part/order',
    'part/token', 'ratio'.

    Args:
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to the
            published 0.75.
        num_parts (int): >= 1. Defaults to the published 7.
        exponent (float): q > 0. Defaults to the published 2.
        iterations (int): Of the clustering, >= 1. Defaults to 5.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range, or (when a model is built)
            there are more parts than tokens.

    Provenance: code for the counts; the parts are our adaptation. Source: Li
    et al., SemMAE, NeurIPS 2022 (arXiv 2206.10207), ucasligang/SemMAE, whose
    parts are learned beforehand. Here they are clusters
    (:func:`cluster_tokens`) of the teacher's patch tokens.
    """

    provenance = 'code'
    needs = Needs(features=True)
    examples: ClassVar = (
        {'ratio': 0.5, 'num_parts': 3},
        {'ratio': (0.6, 0.2), 'num_parts': 4, 'exponent': 1.0,
         'iterations': 2, 'apply_prob': 0.5})

    def __init__(self, ratio: RatioLike = 0.75, *, num_parts: int = 7,
                 exponent: float = 2.0, iterations: int = 5,
                 apply_prob: float = 1.0) -> None:
        check_range('num_parts', num_parts, 1, float('inf'))
        check_range('iterations', iterations, 1, 1000)
        check_range('exponent', exponent, 1e-6, float('inf'))
        super().__init__(ratio, apply_prob=apply_prob)
        self.num_parts, self.iterations = num_parts, iterations
        self.exponent = exponent

    def check(self, grid: tuple[int, int], num_layers: int | None = None
              ) -> None:
        super().check(grid, num_layers)
        if self.num_parts > grid[0] * grid[1]:
            raise ConfigError(
                f'num_parts={self.num_parts}: the grid {grid} has only '
                f'{grid[0] * grid[1]} tokens')

    def parts(self, context: MaskContext) -> torch.Tensor:
        """Returns (M, L) int64, the part of each token."""
        first = context.draws.row_integers(
            'part/first', 0, context.length - 1)
        features = context.require('features')
        return cluster_tokens(
            features, to_device(first, features.device), self.num_parts,
            self.iterations)

    def scores(self, context: MaskContext) -> torch.Tensor:
        device = torch.device(context.device)
        member = _membership(self.parts(context), self.num_parts)
        chance = context.draws.uniform(
            'part/token', context.length, device=device)
        order = order_tokens(chance)[..., None].expand_as(member)
        # how many tokens of its own part come before a token
        before = member.gather(1, order).cumsum(1) - 1
        place = torch.empty_like(before).scatter_(1, order, before)
        place = (place * member).sum(2)
        number = (self.part_counts(member.sum(1), context)[:, None]
                  * member).sum(2)
        scores: torch.Tensor = chance + (place < number)
        return scores

    def part_counts(self, sizes: torch.Tensor, context: MaskContext
                    ) -> torch.Tensor:
        """Returns n_p, (M, P) float64, for parts of these sizes (M, P)."""
        progress = context.progress
        done = min(1.0, (progress.epoch + 1) / max(1, progress.max_epochs))
        some = 1.0 - done**self.exponent
        ratios = self.ratio(context)
        budget, share = (
            to_device(part, sizes.device)[:, None] for part in
            (self.counts(ratios, context.grid), ratios))
        turn = context.draws.uniform(
            'part/order', sizes.shape[1], device=sizes.device)
        turn = order_tokens(order_tokens(turn), descending=False)
        earlier = turn[:, None] < turn[:, :, None]
        taken = (earlier * sizes[:, None]).sum(2)
        whole = (budget - taken).clamp(min=0).minimum(sizes)
        portion = (share * sizes).round()
        number: torch.Tensor = some * portion + (1.0 - some) * whole
        return number.round()
