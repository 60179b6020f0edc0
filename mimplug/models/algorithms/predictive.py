"""What BYOL and SimSiam share: a predictor and a cosine."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmpretrain.models import CosineSimilarityLoss
from torch import Tensor, nn

from mimplug.errors import ConfigError

from ..losses import MixTargets
from .siamese import Losses, Siamese, unit
from .siamese_views import Seen


class PredictiveSiamese(Siamese):
    r"""Base of algorithms that predict the other view's projection.

    .. math::
        \ell(z, t) = b - a \cos(p(z), t)

    with the predictor p and, from the head's ``CosineSimilarityLoss``,
    a = ``scale_factor`` (1) and b = ``shift_factor`` (0); t gets no gradient.
    There are no negatives, so there are no hard ones either.

    Args:
        backbone (dict | nn.Module): See :class:`Siamese`.
        neck (dict | nn.Module): Usually ``NonLinearNeck``.
        head (dict | nn.Module): ``LatentPredictHead`` of MMPretrain, with
            its predictor and a ``CosineSimilarityLoss``.
        symmetric (bool): Each view predicts the other one. Defaults to True.
        **kwargs: Arguments of :class:`SiameseViews`.

    Raises:
        ConfigError: The head has no predictor or another loss.
    """

    def __init__(self, backbone: dict | nn.Module, neck: dict | nn.Module,
                 head: Mapping[str, Any] | nn.Module, *,
                 symmetric: bool = True, **kwargs: Any) -> None:
        super().__init__(backbone, neck, head=head, symmetric=symmetric,
                         **kwargs)
        cosine: Any = getattr(self.head, 'loss_module', None)
        if not hasattr(self.head, 'predictor') or not isinstance(
                cosine, CosineSimilarityLoss):
            raise ConfigError(
                f'head {type(self.head).__name__}: allowed is '
                "dict(type='LatentPredictHead', predictor=…, "
                "loss=dict(type='CosineSimilarityLoss'))")
        self._shift, self._factor = cosine.shift_factor, cosine.scale_factor

    @property
    def scale(self) -> float:
        """What each direction's loss is multiplied by."""
        raise NotImplementedError

    def make_targets(self, seen: Seen, views: Sequence[int],
                     projections: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Targets (B, D) of some views.

        Args:
            seen (Seen): From :meth:`look`.
            views (Sequence[int]): Which, ascending.
            projections (Mapping[int, Tensor]): Of the clean query views.
        """
        raise NotImplementedError

    def loss(self, inputs: Sequence[Tensor],
             data_samples: Sequence | None = None) -> Losses:
        """One training step.

        Args:
            inputs (Sequence[Tensor]): Two views (B, 3, H, W).
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: See :meth:`Siamese.report`.

        Raises:
            ValueError: Fewer than two views.
            RuntimeError: ``set_progress`` was never called.
        """
        seen = self.look(inputs, data_samples)
        queries, plans = {}, {}
        for view, _ in self.pairs:
            queries[view], plans[view] = self._queries(seen, view)
        targets = self.make_targets(
            seen, sorted(target for _, target in self.pairs),
            {view: query[0] for view, query in queries.items()})
        terms = torch.stack([
            self._terms(queries[view], targets[target], plans[view])
            for view, target in self.pairs])
        sums = torch.stack([plan.sums(part) for plan, part
                            in zip(plans.values(), terms)]).sum(dim=0)
        return self.report(self.scale * sums, terms[0], plans[0], seen)

    def _queries(self, seen: Seen,
                 view: int) -> tuple[list[Tensor], MixTargets]:
        """Projections (B, D) of a view and of its mixtures."""
        mixed = self.mixtures(seen, view)
        passes = [seen.query[view], *(mix.images for mix in mixed)]
        return ([self.encode(images) for images in passes],
                self.targets_of(mixed, seen.query[view]))

    def _terms(self, queries: Sequence[Tensor], target: Tensor,
               plan: MixTargets) -> Tensor:
        """Terms (Q, B, P) of projections and targets (B, D)."""
        predicted = torch.stack([
            unit(self.head.predictor([query])[0]) for query in queries])
        positives = plan.positives(unit(target.detach()))
        cosine = torch.einsum('qbd,qbpd->qbp', predicted, positives)
        terms: Tensor = self._shift - self._factor * cosine
        return terms
