"""Self-distillation over prototypes: centre, sharpen, cross-entropy."""
from __future__ import annotations

import torch
from mmengine import dist
from mmengine.model import BaseModule
from torch import Tensor

from mimplug.errors import ConfigError, check_range
from mimplug.registry import MODELS


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor in float32, or unchanged if it is float64."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sharpen(logits: Tensor, center: Tensor, temperature: float) -> Tensor:
    r"""Teacher assignment :math:`softmax((t - c) / \tau)`.

    Args:
        logits (Tensor): Raw teacher logits (…, K).
        center (Tensor): (K,).
        temperature (float): :math:`\tau` > 0.

    Returns:
        Tensor: Probabilities (…, K), float32 or float64.
    """
    centred = at_least_float32(logits) - center
    return centred.div_(temperature).softmax(dim=-1)


def cross_view_loss(student: Tensor, target: Tensor, temperature: float,
                    weights: Tensor | None = None) -> Tensor:
    r"""Mean cross-entropy over all pairs of different views.

    .. math::
        \frac{1}{G V - G} \sum_{q < G} \sum_{v \neq q} \frac1B \sum_b
        -P_{qb} \cdot \log softmax(s_{vb} / \tau_s)

    Because each P sums to 1, a term is ``logsumexp(s) - P . s``: one product
    for all pairs and one logsumexp a student row.

    Args:
        student (Tensor): Student logits (V, B, K), the first G views being
            the teacher's.
        target (Tensor): Teacher probabilities P (G, B, K), 1 <= G <= V.
        temperature (float): :math:`\tau_s` > 0.
        weights (Tensor, optional): (V, G), w[v][q] in place of the mean over
            pairs, as :func:`multi_view_weights` gives them.

    Returns:
        Tensor: Scalar. 0 if there is no pair (G = V = 1).

    Source: ``iBOTLoss.forward`` of gkakogeorgiou/attmask.
    """
    num_global, num_views = target.shape[0], student.shape[0]
    scores = at_least_float32(student) / temperature
    dots = torch.einsum('qbk,vbk->qvb', target, scores)
    terms = scores.logsumexp(dim=-1) - dots
    if weights is not None:
        return (terms.mean(-1) * weights.T).sum()
    same = terms.diagonal().sum(-1)
    pairs = max(1, num_global * (num_views - 1))
    return (terms.sum((0, 1)) - same).mean() / pairs


def token_terms(student: Tensor, target: Tensor,
                temperature: float) -> Tensor:
    r"""Cross-entropy of each token.

    .. math:: -P_r \cdot \log softmax(s_r / \tau_s)

    Args:
        student (Tensor): Student logits (R, K).
        target (Tensor): Teacher probabilities P (R, K).
        temperature (float): :math:`\tau_s` > 0.

    Returns:
        Tensor: (R,).
    """
    scores = at_least_float32(student) / temperature
    return scores.logsumexp(dim=-1) - (target * scores).sum(-1)


def weighted_token_loss(student: Tensor, target: Tensor, weight: Tensor,
                        temperature: float) -> Tensor:
    r"""Weighted sum of per-token cross-entropies.

    .. math::
        \sum_r w_r \left( -P_r \cdot \log softmax(s_r / \tau_s) \right)

    Args:
        student (Tensor): Student logits (R, K).
        target (Tensor): Teacher probabilities (R, K).
        weight (Tensor): (R,); 0 switches a row off.
        temperature (float): :math:`\tau_s` > 0.

    Returns:
        Tensor: Scalar; 0 for R = 0.
    """
    return (token_terms(student, target, temperature) * weight).sum()


@MODELS.register_module()
class ClusteringLoss(BaseModule):
    r"""CLS and patch terms of DINO / iBOT with their centres.

    The centres are moving averages of the teacher's mean logits over batch
    and ranks:

    .. math:: c \leftarrow \mu c + (1 - \mu)\, \overline{t}

    Losses read the centres of the last optimiser step. :meth:`observe` adds
    the teacher logits of a micro-batch; :meth:`step` moves both centres once
    an optimiser step, in one collective; a centre never takes up a value that
    is not finite.

    Args:
        num_prototypes (int): K, size of CLS logits.
        patch_prototypes (int, optional): K', size of patch logits; 0: there
            is no patch term. Defaults to K.
        student_temperature (float): :math:`\tau_s` > 0. Defaults to 0.1.
        center_momentum (float): :math:`\mu` of the CLS centre, in [0, 1].
            Defaults to 0.9.
        patch_center_momentum (float): The same of the patch centre.
            Defaults to 0.9.
        cls_weight (float): :math:`\lambda_1` >= 0. Defaults to 1.
        patch_weight (float): :math:`\lambda_2` >= 0. Defaults to 1.

    Raises:
        ConfigError: A value out of range.

    Source: ``iBOTLoss`` in ``main_attmask.py`` of gkakogeorgiou/attmask.
    """

    cls_center: Tensor
    patch_center: Tensor

    def __init__(self,
                 num_prototypes: int,
                 patch_prototypes: int | None = None,
                 *,
                 student_temperature: float = 0.1,
                 center_momentum: float = 0.9,
                 patch_center_momentum: float = 0.9,
                 cls_weight: float = 1.0,
                 patch_weight: float = 1.0) -> None:
        super().__init__()
        if patch_prototypes is None:
            patch_prototypes = num_prototypes
        if student_temperature <= 0:
            raise ConfigError(
                f'student_temperature={student_temperature}: must be > 0')
        check_range('center_momentum', center_momentum, 0, 1)
        check_range('patch_center_momentum', patch_center_momentum, 0, 1)
        check_range('cls_weight', cls_weight, 0, float('inf'))
        check_range('patch_weight', patch_weight, 0, float('inf'))
        self.student_temperature = student_temperature
        self.momenta = (center_momentum, patch_center_momentum)
        self.weights = (cls_weight, patch_weight)
        self.register_buffer('cls_center', torch.zeros(num_prototypes))
        self.register_buffer('patch_center', torch.zeros(patch_prototypes))
        # Sums since the last step. No buffer: it is empty at a checkpoint,
        # and a distributed wrapper must not overwrite it by rank 0's.
        self.pending: Tensor | None = None
        self.observed = 0

    def cls_loss(self, student: Tensor, teacher: Tensor, temperature: float,
                 weights: Tensor | None = None) -> Tensor:
        """CLS term of all pairs of different views, times its weight.

        Args:
            student (Tensor): (V, B, K) raw logits, global views first.
            teacher (Tensor): (G, B, K) raw logits of the global views.
            temperature (float): Teacher temperature > 0.
            weights (Tensor, optional): (V, G), of the pairs; see
                :func:`cross_view_loss`.

        Returns:
            Tensor: Scalar.
        """
        with torch.autocast(student.device.type, enabled=False):
            with torch.no_grad():
                target = sharpen(teacher, self.cls_center, temperature)
            loss = cross_view_loss(student, target, self.student_temperature,
                                   weights)
        return loss * self.weights[0]

    def patch_loss(self, student: Tensor, teacher: Tensor, weight: Tensor,
                   temperature: float) -> Tensor:
        """Patch term on the requested (hidden) tokens, times its weight.

        Args:
            student (Tensor): (R, K') raw logits of R tokens.
            teacher (Tensor): (R, K') raw logits of the same tokens.
            weight (Tensor): (R,) share of each token in the mean; iBOT's is
                1 / (masked tokens of its view) / (views x images).
            temperature (float): Teacher temperature > 0.

        Returns:
            Tensor: Scalar; exactly 0 if no token is hidden.
        """
        return self.weigh_patches(
            self.patch_terms(student, teacher, temperature), weight)

    def patch_terms(self, student: Tensor, teacher: Tensor,
                    temperature: float) -> Tensor:
        """Cross-entropy (R,) of each requested token; see `patch_loss`."""
        with torch.autocast(student.device.type, enabled=False):
            with torch.no_grad():
                target = sharpen(teacher, self.patch_center, temperature)
            return token_terms(student, target, self.student_temperature)

    def weigh_patches(self, terms: Tensor, weight: Tensor) -> Tensor:
        """Patch term of :meth:`patch_terms` (R,) and weights (R,)."""
        return (terms * weight).sum() * self.weights[1]

    @torch.no_grad()
    def observe(self, cls_mean: Tensor,
                patch_mean: Tensor | None = None) -> None:
        """Adds one micro-batch to the pending centre update.

        Args:
            cls_mean (Tensor): Mean raw teacher CLS logits (K,).
            patch_mean (Tensor, optional): Mean raw teacher patch logits
                (K',) over all tokens, hidden or not. None without patch
                term.
        """
        if patch_mean is None:
            patch_mean = cls_mean[:0]
        means = torch.cat((cls_mean, patch_mean)).to(self.cls_center.dtype)
        self.pending = means if self.pending is None else self.pending + means
        self.observed += 1

    @torch.no_grad()
    def step(self, finite: Tensor | None = None) -> None:
        """Moves both centres to the mean of what was observed, on all ranks.

        What was observed is used up, whether it moved them or not. Does
        nothing if nothing was observed.

        Args:
            finite (Tensor, optional): Bool scalar on the device, equal on
                all ranks: False if the optimiser step was skipped. None: as
                True.
        """
        if self.pending is None:
            return
        mean = self.pending / self.observed
        self.pending, self.observed = None, 0
        dist.all_reduce(mean, op='mean')
        # teacher logits can overflow where no loss looks at them
        good = mean.isfinite().all()
        if finite is not None:
            good &= finite
        parts = mean.split([len(self.cls_center), len(self.patch_center)])
        centers = (self.cls_center, self.patch_center)
        for center, part, momentum in zip(centers, parts, self.momenta):
            center.lerp_(torch.where(good, part, center), 1.0 - momentum)

    def extra_repr(self) -> str:
        """Temperatures, momenta and weights."""
        return (f'student_temperature={self.student_temperature}, '
                f'center_momenta={self.momenta}, weights={self.weights}')
