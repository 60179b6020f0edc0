"""Who is to be recognised in a mixture of two images, and how much."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class MixTargets(NamedTuple):
    r"""Positives of Q passes over a batch: the clean one, then mixtures.

    A mixture :math:`m_j` of image j and its partner :math:`\pi(j)` shows the
    share :math:`\lambda_j` of j. With any loss :math:`\ell` of a query and a
    target of the other view,

    .. math::
        L = \frac1B \sum_j \ell(q_j, t_j) + \sum_{mix} \frac1B \sum_j
        \left[ \lambda_j\, \ell(q^{mix}_j, t_j)
        + (1 - \lambda_j)\, \ell(q^{mix}_j, t_{\pi(j)}) \right]

    The second part of a mixture is the released "flipped" term: the query of
    j, compared with the target of its partner, is that of the inverse mask.
    Without mixtures there is one positive a query, P = 1, otherwise P = 2.

    Args:
        partner (Tensor): int64 (Q, B, P), image of each positive; the first
            one is the image itself.
        weight (Tensor): (Q, B, P), 1 and 0 in the clean pass.

    Source: ``main_moco_mixmask.py`` of kirill-vish/MixMask
    (arXiv 2210.11456) and szq0214/Un-Mix (arXiv 2003.05438). The sum of the
    weights is 1 + the number of mixtures, as released.

    Example:
        >>> lam, partner = torch.tensor([.75, .5]), torch.tensor([1, 0])
        >>> mix_targets(2, [(lam, partner)]).weight[1].tolist()
        [[0.75, 0.25], [0.5, 0.5]]
    """
    partner: Tensor
    weight: Tensor

    def positives(self, targets: Tensor) -> Tensor:
        """Targets (B, D) as the positives (Q, B, P, D) of all queries."""
        return targets[self.partner]

    def sums(self, terms: Tensor) -> Tensor:
        r"""Weighted sums over positives, means over the batch.

        Args:
            terms (Tensor): :math:`\ell`, (Q, B, P).

        Returns:
            Tensor: (Q,), the parts of L; their sum is the loss.
        """
        return (terms * self.weight).sum(dim=-1).mean(dim=-1)


def mix_targets(batch_size: int, mixes: Sequence[tuple[Tensor, Tensor]],
                device: torch.device | str = 'cpu') -> MixTargets:
    """The positives of a clean pass and of mixtures.

    Args:
        batch_size (int): B.
        mixes (Sequence[tuple[Tensor, Tensor]]): Of each mixture the share of
            the own image, (B,) in [0, 1], and the partner, (B,) int64.
        device (torch.device | str): Of the result. Defaults to the CPU.

    Returns:
        MixTargets: Of Q = 1 + number of mixtures passes.
    """
    own = torch.arange(batch_size, device=device)
    if not mixes:
        weight = torch.ones(1, batch_size, 1, device=device)
        return MixTargets(own.view(1, -1, 1), weight)
    partners = [own, *(partner for _, partner in mixes)]
    shares = [torch.ones_like(mixes[0][0]), *(lam for lam, _ in mixes)]
    share = torch.stack(shares)
    return MixTargets(
        torch.stack([own.expand(len(partners), -1), torch.stack(partners)],
                    dim=-1),
        torch.stack([share, 1 - share], dim=-1))
