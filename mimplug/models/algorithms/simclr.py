"""SimCLR with masks, mixtures and hard negatives as options."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from mimplug.registry import MODELS

from ..losses import MixTargets, NTXent
from .siamese import Losses, Siamese, unit
from .siamese_masks import HardNegative, read_settings
from .siamese_views import Seen


@MODELS.register_module()
class SimCLR(Siamese):
    r"""SimCLR; with ``mixes`` MixMask and Un-Mix.

    The clean views go through the encoder together, in one pass, then each
    mixture in one of its own. With the terms :math:`\ell` of
    :func:`~mimplug.models.losses.nt_xent_terms`,

    .. math::
        L = \frac{1}{2B} \sum_{v, i} \ell(z^v_i, i) + \sum_{mix} \frac1B
        \sum_i \left[ \lambda_i\, \ell(z^{mix}_i, i)
        + (1 - \lambda_i)\, \ell(z^{mix}_i, \pi(i)) \right]

    Negatives are the clean features of both views of all other images, of
    all processes, with their gradient. Without masks and mixtures this is
    MMPretrain's ``SimCLR``; on several processes its gradient, too, is that
    of one process, which the stock one's is not.

    The position in the run comes from ``mimplug.ProgressHook``.

    Args:
        backbone (dict | nn.Module): See :class:`Siamese`.
        neck (dict | nn.Module): Usually ``NonLinearNeck``.
        temperature (float): T > 0. Defaults to 0.1.
        drop_partner (bool): The other image of a mixture is no negative.
            Defaults to False.
        hard_negative (dict, optional): Arguments of
            :class:`~.siamese_masks.HardNegative`: views of which the object
            is hidden, encoded in passes of their own, as more negatives of
            the other view's anchors (mixtures included). Defaults to none.
        detach_hard (bool): No gradient flows into them. Defaults to False.
        symmetric (bool): Mixtures of the second view as well, and hard
            negatives of the first for its anchors; both views' parts are
            averaged. Clean views are always compared in both directions.
            Defaults to False.
        **kwargs: Arguments of :class:`SiameseViews`. There is one branch:
            ``branch='key'`` of masks is refused.

    Raises:
        ConfigError: A value out of range, or parts that do not fit together.

    Source: Chen et al., SimCLR (arXiv 2002.05709). Mixtures, masks and hard
    negatives are ours: MixMask (arXiv 2210.11456) and the saliency-guided
    masking (arXiv 2309.12757) report SimCLR but released MoCo only.
    """

    has_key_branch = False

    def __init__(self, backbone: dict | nn.Module, neck: dict | nn.Module,
                 *, temperature: float = 0.1, drop_partner: bool = False,
                 hard_negative: Mapping[str, Any] | None = None,
                 detach_hard: bool = False, **kwargs: Any) -> None:
        hard = None if hard_negative is None else read_settings(
            HardNegative, 'hard_negative', hard_negative)
        super().__init__(backbone, neck, hard_negative=hard, **kwargs)
        self.detach_hard = detach_hard
        self.contrast = NTXent(
            temperature, hard.alpha if hard else 1.0, drop_partner)

    def branch_views(self) -> dict[str, set[int]]:
        """Both views go through the one branch."""
        return dict(query={0, 1})

    def loss(self, inputs: Sequence[Tensor],
             data_samples: Sequence | None = None) -> Losses:
        """One training step.

        Args:
            inputs (Sequence[Tensor]): Two views (B, 3, H, W) of one size.
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: See :meth:`Siamese.report`; ``raw/positive``, the mean
            share of the positive in the softmax of the first view.

        Raises:
            ValueError: Fewer than two views.
            RuntimeError: ``set_progress`` was never called.
        """
        seen = self.look(inputs, data_samples)
        clean = unit(self.encode(torch.cat(seen.query))).unflatten(0, (2, -1))
        queries = {view: self._queries(seen, clean, view) for view in (0, 1)}
        hard = {query: self._hard(seen, pair)
                for pair, (query, _) in enumerate(self.pairs)}
        bank = self.contrast.gather(clean)
        terms = {view: self.contrast.terms(
            query, bank, targets.partner, view=view, hard=hard.get(view))
            for view, (query, targets) in queries.items()}
        sums = [queries[view][1].sums(part) for view, part in terms.items()]
        # the second view has no mixtures unless symmetric
        whole = torch.stack([part[0] for part in sums]).mean().unsqueeze(0)
        mixed = torch.stack([part[1:] for part in sums
                             if len(part) == len(sums[0])]).mean(dim=0)
        losses = self.report(torch.cat([whole, mixed]), terms[0],
                             queries[0][1], seen)
        losses['raw/positive'] = (
            terms[0].detach()[0, :, 0].neg().exp().mean())
        return losses

    def _queries(self, seen: Seen, clean: Tensor,
                 view: int) -> tuple[Tensor, MixTargets]:
        """Unit anchors (Q, B, D) of a view and of its mixtures."""
        asked = any(view == query for query, _ in self.pairs)
        mixed = self.mixtures(seen, view) if asked else []
        anchors = [clean[view], *(unit(self.encode(mix.images))
                                  for mix in mixed)]
        return torch.stack(anchors), self.targets_of(mixed, clean[view])

    def _hard(self, seen: Seen, pair: int) -> Tensor | None:
        """Hard negatives (B, n, D), or None."""
        if self.hard_negative is None:
            return None
        with torch.no_grad() if self.detach_hard else nullcontext():
            return torch.stack([
                unit(self.encode(images))
                for images in self.hard_images(seen, pair)], dim=1)
