"""NT-Xent: the contrastive loss of SimCLR, also for mixtures."""
from __future__ import annotations

import torch
from mmengine.dist import get_rank
from torch import Tensor, nn

from mimplug.errors import ConfigError
from mimplug.registry import MODELS

from .clustering import at_least_float32
from .gather import gather_with_grad


def nt_xent_terms(anchor: Tensor, bank: Tensor, positive: Tensor, *,
                  view: int = 0, temperature: float = 0.1,
                  drop: Tensor | None = None, hard: Tensor | None = None,
                  alpha: float = 1.0) -> Tensor:
    r"""One term for every anchor and each image it is to be like.

    For an anchor a of view v and an image i, with unit features
    :math:`z^0_i, z^1_i` of the two views and :math:`v' = 1 - v`,

    .. math::
        \ell = -\log \frac{e^{a \cdot z^{v'}_i / T}}
        {e^{a \cdot z^{v'}_i / T} + \sum_{j \ne i} \sum_{u}
        e^{a \cdot z^u_j / T} + \sum_n e^{\alpha\, a \cdot t_n / T}}

    :math:`z^v_i` is left out: it is the anchor itself, or for a mixture the
    same view of the image that is to be recognised. The other image of a
    mixture is a negative unless ``drop`` names it. One matrix product serves
    all positives. Computed outside autocast in float32, in float64 for
    float64 input.

    Args:
        anchor (Tensor): a, (..., B, D), unit length.
        bank (Tensor): z, (2, N, D), unit length; gradients flow into it.
        positive (Tensor): i, int64, broadcastable to (..., B, P).
        view (int): v, 0 or 1. Defaults to 0.
        temperature (float): T > 0. Defaults to 0.1.
        drop (Tensor, optional): int64 like ``positive``: images of which
            both views are left out as well, unless they are the positive.
        hard (Tensor, optional): t, (B, n, D), negatives of each anchor.
        alpha (float): Factor on hard logits. Defaults to 1.

    Returns:
        Tensor: (..., B, P); 0 where there is no negative at all.

    Source: Chen et al., SimCLR (arXiv 2002.05709); ``SimCLR`` of MMPretrain.
    The form for mixtures and for hard negatives is ours: neither MixMask nor
    the saliency-guided masking released one.
    """
    with torch.autocast(anchor.device.type, enabled=False):
        scaled = at_least_float32(anchor) / temperature
        rows = at_least_float32(bank).flatten(0, 1)
        number = bank.shape[1]
        logits = scaled @ rows.T
        positive = positive.expand(*anchor.shape[:-1], positive.shape[-1])
        column = torch.arange(2 * number, device=rows.device)
        wanted = positive + (1 - view) * number
        gone = column == (positive + view * number).unsqueeze(-1)
        if drop is not None:
            other = column.remainder(number) == drop.unsqueeze(-1)
            gone = gone | (other & (column != wanted.unsqueeze(-1)))
        total = logits.unsqueeze(-2).masked_fill(gone, -torch.inf)
        total = total.logsumexp(dim=-1)
        if hard is not None:
            similar = torch.einsum(
                '...bd,bnd->...bn', scaled, at_least_float32(hard)) * alpha
            total = torch.logaddexp(
                total, similar.logsumexp(dim=-1, keepdim=True))
        return total - logits.gather(-1, wanted)


@MODELS.register_module()
class NTXent(nn.Module):
    """:func:`nt_xent_terms` on the features of all ranks.

    Args:
        temperature (float): T > 0. Defaults to 0.1.
        alpha (float): Factor on the logits of hard negatives. Defaults to 1.
        drop_partner (bool): The image that is not to be recognised in a
            mixture, though it is there, is no negative. Defaults to False.

    Raises:
        ConfigError: A value out of range.
    """

    def __init__(self, temperature: float = 0.1, alpha: float = 1.0,
                 drop_partner: bool = False) -> None:
        super().__init__()
        for name, value in (('temperature', temperature), ('alpha', alpha)):
            if not value > 0:
                raise ConfigError(f'{name}={value!r}: allowed is > 0')
        self.temperature = temperature
        self.alpha = alpha
        self.drop_partner = drop_partner

    @staticmethod
    def gather(features: Tensor) -> Tensor:
        """Bank (2, W B, D) of the features (2, B, D) of each rank."""
        return gather_with_grad(features)

    def terms(self, anchor: Tensor, bank: Tensor, partner: Tensor, *,
              view: int = 0, hard: Tensor | None = None) -> Tensor:
        """The terms of anchors of this rank.

        Args:
            anchor (Tensor): (Q, B, D), unit length.
            bank (Tensor): From :meth:`gather`.
            partner (Tensor): int64 (Q, B, P), images of this rank, the own
                one first; see :class:`~.mixing.MixTargets`.
            view (int): View of the anchors, 0 or 1. Defaults to 0.
            hard (Tensor, optional): (B, n, D).

        Returns:
            Tensor: (Q, B, P).
        """
        index = partner + get_rank() * partner.shape[1]
        drop = index.flip(-1) if self.drop_partner else None
        return nt_xent_terms(
            anchor, bank, index, view=view, temperature=self.temperature,
            drop=drop, hard=hard, alpha=self.alpha)
