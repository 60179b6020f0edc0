"""Contrast of attended with unattended patches: the thesis' third term."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking import order_tokens
from mimplug.registry import MODELS

from .clustering import at_least_float32

FORMULAS = ('infonce', 'reference')


def select_pairs(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The most and the least attended patches of each row.

    Args:
        scores (Tensor): (M, L) floats, L >= 2 * count.
        count (int): k.

    Returns:
        tuple[Tensor, Tensor]: int64 (M, k) each, in descending order of the
        scores; the last of the second is the least attended patch.

    Source: ``positive_negative_selection`` in
    ``contrastive_mask_for_pair_selection.py`` of
    DimitrisReppas/MIM_on_self-supervision.
    """
    order = order_tokens(scores)
    return order[:, :count], order[:, order.shape[1] - count:]


def pair_terms(anchor: Tensor, positive: Tensor, negative: Tensor, *,
               temperature: float = 0.2, formula: str = 'infonce') -> Tensor:
    r"""A term for each ordered pair of an anchor and another positive.

    With the cosines :math:`S_{tl}` of anchor t and positive l,
    :math:`C_{tm}` of anchor t and negative m, and
    :math:`E_t = \sum_m e^{C_{tm} / \tau}`:

    .. math::
        infonce: \; -\ln \frac{e^{S_{tl} / \tau}}{e^{S_{tl} / \tau} + E_t}
        \qquad reference: \; -S_{tl} / \tau + \ln (S_{tl} + E_t)

    The second one, as released, adds the bare cosine inside the logarithm.

    Args:
        anchor (Tensor): (B, A, D), of any length.
        positive (Tensor): (B, A, D); number t is the patch of anchor t.
        negative (Tensor): (B, N, D).
        temperature (float): :math:`\tau` > 0. Defaults to 0.2.
        formula (str): 'infonce' or 'reference'. Defaults to 'infonce'.

    Returns:
        Tensor: (B, A, A), float32 or better, 0 on the diagonal (a patch is
        no pair with itself).

    Source: ``iBOTLoss.forward`` in ``contrastive_3rd_term_main_ibot.py`` of
    DimitrisReppas/MIM_on_self-supervision.
    """
    with torch.autocast(anchor.device.type, enabled=False):
        anchor, positive, negative = (
            F.normalize(at_least_float32(x), dim=-1)
            for x in (anchor, positive, negative))
        similar = anchor @ positive.transpose(1, 2)
        rivals = anchor @ negative.transpose(1, 2) / temperature
        rivals = rivals.logsumexp(dim=2, keepdim=True)
        logits = similar / temperature
        if formula == 'infonce':
            terms = torch.logaddexp(logits, rivals) - logits
        else:
            terms = torch.log(similar + rivals.exp()) - logits
        same = torch.eye(
            terms.shape[1], dtype=torch.bool, device=terms.device)
        return terms.masked_fill(same, 0.0)


@MODELS.register_module()
class PairContrast(BaseModule):
    r"""Mean over anchors of the terms of :func:`pair_terms`.

    .. math:: L_3 = \frac{\lambda_3}{A B} \sum_i \sum_t \sum_{l \neq t}
        \ell^i_{tl}

    Pairs are formed inside an image only. As in the release the sum is
    divided by the number A B of anchors and not by the A - 1 positives of
    each, so that it grows with A; ``normalise_pairs`` divides by both.

    Args:
        temperature (float): :math:`\tau` > 0. Defaults to 0.2.
        weight (float): :math:`\lambda_3` >= 0. Defaults to 1.
        formula (str): 'infonce' or 'reference', the released one with the
            bare cosine inside the logarithm (with features that are no
            probabilities this can be the logarithm of a negative number).
            Defaults to 'infonce'.
        normalise_pairs (bool): Divide by A - 1 as well. Defaults to False.

    Raises:
        ConfigError: A value out of range.

    Source: ``iBOTLoss.forward`` in ``contrastive_3rd_term_main_ibot.py`` of
    DimitrisReppas/MIM_on_self-supervision, whose term has no gradient; that
    is a matter of what is passed here, see
    :class:`mimplug.models.algorithms.PairTerm`.
    """

    def __init__(self, temperature: float = 0.2, *, weight: float = 1.0,
                 formula: str = 'infonce', normalise_pairs: bool = False
                 ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ConfigError(f'temperature={temperature}: must be > 0')
        check_range('weight', weight, 0, float('inf'))
        check_choice('formula', formula, FORMULAS)
        self.temperature, self.weight = temperature, weight
        self.formula, self.normalise_pairs = formula, normalise_pairs

    def forward(self, anchor: Tensor, positive: Tensor,
                negative: Tensor) -> Tensor:
        """The weighted loss.

        Args:
            anchor (Tensor): (B, A, D), normalised here.
            positive (Tensor): (B, A, D), of the same patches.
            negative (Tensor): (B, N, D).

        Returns:
            Tensor: Scalar; 0 for A = 1, which has no pair.
        """
        terms = pair_terms(anchor, positive, negative, formula=self.formula,
                           temperature=self.temperature)
        batch, count = terms.shape[:2]
        divisor = batch * count
        if self.normalise_pairs:
            divisor *= max(1, count - 1)
        return terms.sum() * (self.weight / divisor)

    def extra_repr(self) -> str:
        """Temperature, weight and form."""
        return (f'temperature={self.temperature}, weight={self.weight}, '
                f'formula={self.formula!r}, '
                f'normalise_pairs={self.normalise_pairs}')
