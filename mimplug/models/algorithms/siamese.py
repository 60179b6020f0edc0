"""What siamese algorithms share beyond their views."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimplug.masking import Mixed

from ..losses import MixTargets, at_least_float32, mix_targets
from .siamese_views import Seen, SiameseViews

Losses = dict[str, Tensor]


def unit(features: Tensor) -> Tensor:
    """Features scaled to length 1, in float32 or better."""
    with torch.autocast(features.device.type, enabled=False):
        return F.normalize(at_least_float32(features), dim=-1)


class Siamese(SiameseViews):
    """Base of algorithms that compare two views of an image.

    Args:
        backbone (dict | nn.Module): Any that gives feature maps.
        neck (dict | nn.Module): Projector, a neck of MMPretrain.
        **kwargs: Arguments of :class:`SiameseViews`: masks, mixtures, input
            filter.

    Raises:
        ConfigError: Parts that do not fit together.
    """

    def reset_teacher(self) -> None:
        """Copies the encoder into the key encoder, where there is one."""
        if hasattr(self, 'teacher'):
            super().reset_teacher()

    def step_end(self, momentum: float,
                 finite: Tensor | None = None) -> None:
        """Nothing moves after a step.

        Args:
            momentum (float): Not used.
            finite (Tensor, optional): Not used.
        """

    def extract_feat(self, inputs: Tensor) -> Any:
        """Features of images (B, 3, H, W), which the filter goes over."""
        return self.backbone(self.filtered(inputs))

    def encode(self, images: Tensor) -> Tensor:
        """Projections (B, D) of the branch that learns."""
        features: Tensor = self.neck(self.backbone(images))[0]
        return features

    def encode_key(self, images: Tensor) -> Tensor:
        """Projections (B, D) of the key encoder."""
        features: Tensor = self.teacher.neck(self.teacher.backbone(images))[0]
        return features

    @staticmethod
    def targets_of(mixed: Sequence[Mixed], like: Tensor) -> MixTargets:
        """Who is to be recognised in the clean view and its mixtures."""
        return mix_targets(len(like), [(mix.lam, mix.partner)
                                       for mix in mixed], like.device)

    def report(self, sums: Tensor, terms: Tensor, targets: MixTargets,
               seen: Seen) -> Losses:
        """The losses, and what is logged of them.

        Args:
            sums (Tensor): (Q,), what each pass adds to the loss.
            terms (Tensor): (Q, B, P), those of the first pair of views.
            targets (MixTargets): Of these terms.
            seen (Seen): From :meth:`look`.

        Returns:
            dict: ``loss_clean`` and ``loss_mix0``, … (their sum is the
            loss). Means over the terms of the first pair of views:
            ``raw/clean`` and of each mixture ``raw/mix0/own``,
            ``raw/mix0/partner``, ``raw/mix0/lam``; ``raw/hidden``, share of
            hidden cells.
        """
        names = ['clean', *(f'mix{i}' for i in range(len(self.mixes)))]
        losses = {f'loss_{name}': part
                  for name, part in zip(names, sums.unbind())}
        with torch.no_grad():
            means = terms.detach().mean(dim=1)
            losses['raw/clean'] = means[0, 0]
            for i, name in enumerate(names[1:], start=1):
                losses[f'raw/{name}/own'] = means[i, 0]
                losses[f'raw/{name}/partner'] = means[i, 1]
                losses[f'raw/{name}/lam'] = targets.weight[i, :, 0].mean()
            if seen.masks:
                losses['raw/hidden'] = torch.stack([
                    mask.hidden.float().mean() for mask in seen.masks]).mean()
        return losses


def key_copy(part: nn.Module) -> nn.Module:
    """A copy for the key encoder, which gets its weights from the encoder."""
    twin = copy.deepcopy(part)
    module: Any
    for module in twin.modules():
        if hasattr(module, 'init_cfg'):
            module.init_cfg = None
    return twin
