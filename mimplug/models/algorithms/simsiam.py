"""SimSiam with masks and mixtures as options."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mimplug.registry import MODELS

from .predictive import PredictiveSiamese
from .siamese_views import Seen


@MODELS.register_module()
class SimSiam(PredictiveSiamese):
    r"""Simple siamese learning; with ``mixes`` MixMask and Un-Mix.

    .. math::
        L = \frac{1}{V} \sum_{(v, u)} \frac1B \sum_i \ell(z^v_i, z^u_i)
        + mixtures, \quad \ell(z, t) = -\cos(p(z), t)

    over the V pairs of query and target view; targets are projections of
    the same network without gradient. If a view is masked as a query but not
    as a target, it goes through the network once more, without gradient,
    where batch norms see it, too. Without masks and mixtures the loss is
    that of MMPretrain's ``SimSiam``, and so is ``SimSiamHook``.

    The position in the run comes from ``mimplug.ProgressHook``.

    Args:
        backbone (dict | nn.Module): See :class:`Siamese`.
        neck (dict | nn.Module): Usually ``NonLinearNeck``.
        head (dict | nn.Module): See :class:`PredictiveSiamese`.
        **kwargs: Arguments of :class:`PredictiveSiamese`.

    Raises:
        ConfigError: Parts that do not fit together.

    Source: Chen and He, SimSiam (arXiv 2011.10566). Mixtures are ours:
    MixMask (arXiv 2210.11456) reports SimSiam but released MoCo only.
    """

    @property
    def scale(self) -> float:
        """The mean over directions."""
        return 1.0 / len(self.pairs)

    @torch.no_grad()
    def make_targets(self, seen: Seen, views: Sequence[int],
                     projections: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Projections of the network itself; known ones are not repeated."""
        return {
            view: projections[view]
            if view in projections and seen.key[view] is seen.query[view]
            else self.encode(seen.key[view]) for view in views}
