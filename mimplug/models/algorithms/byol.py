"""BYOL with masks and mixtures as options."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mimplug.registry import MODELS

from ..teacher import Teacher
from .predictive import PredictiveSiamese
from .siamese import key_copy
from .siamese_views import Seen


@MODELS.register_module()
class BYOL(PredictiveSiamese):
    r"""Bootstrap your own latent; with ``mixes`` MixMask and Un-Mix.

    .. math::
        L = 2 \sum_{(v, u)} \frac1B \sum_i \ell(z^v_i, t^u_i) + mixtures,
        \quad \ell(z, t) = -\cos(p(z), t)

    over the pairs of query and target view. The online network sees masked
    views and mixtures, the target network clean views. It follows the online
    one after each optimiser step (parameters only), by ``mimplug.TeacherHook``
    (published: ``momentum=0.996, final_momentum=1``); a skipped step moves
    nothing. Without masks and mixtures the loss is that of MMPretrain's
    ``BYOL``.

    Args:
        backbone (dict | nn.Module): See :class:`Siamese`.
        neck (dict | nn.Module): Usually ``NonLinearNeck``.
        head (dict | nn.Module): See :class:`PredictiveSiamese`.
        **kwargs: Arguments of :class:`PredictiveSiamese`.

    Raises:
        ConfigError: Parts that do not fit together.

    Source: Grill et al., BYOL (arXiv 2006.07733). Mixtures are ours: MixMask
    (arXiv 2210.11456) reports BYOL but released MoCo only.
    """

    def __init__(self, backbone: dict | nn.Module, neck: dict | nn.Module,
                 head: Mapping[str, Any] | nn.Module, **kwargs: Any) -> None:
        super().__init__(backbone, neck, head, **kwargs)
        self.teacher = Teacher(backbone=key_copy(self.backbone),
                               neck=key_copy(self.neck))

    @property
    def scale(self) -> float:
        """2, as the squared distance of unit vectors has it."""
        return 2.0

    def step_end(self, momentum: float,
                 finite: Tensor | None = None) -> None:
        """Moves the target network; called after each optimiser step.

        Args:
            momentum (float): Share kept, in [0, 1].
            finite (Tensor, optional): Bool scalar on the device; where it is
                False nothing moves. None: as True.
        """
        self.teacher.update(self, momentum, finite)

    @torch.no_grad()
    def make_targets(self, seen: Seen, views: Sequence[int],
                     projections: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Projections of the target network."""
        return {view: self.encode_key(seen.key[view]) for view in views}
