"""Predicts which patches a student finds hard."""
from __future__ import annotations

import torch
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_range
from mimplug.masking import Mask
from mimplug.registry import MODELS

from ..losses.ranking import (
    pairwise_ranking_loss,
    spread_tokens,
    standardised_loss,
)


@MODELS.register_module()
class PatchDifficulty(BaseModule):
    r"""A small MLP on the teacher's patch tokens; HPM's second decoder.

    .. math:: d = w_2 \cdot gelu(W_1\, LN(x) + b_1)

    It is trained on hidden patches with what the student's patch loss was
    there, and drives :class:`mimplug.masking.HardPatchMask`. No gradient
    reaches teacher or student.

    Args:
        in_channels (int): D, width of the tokens.
        hidden_channels (int): Width of the hidden layer. Defaults to 256.
        relative (bool): Learn the order of the patches of an image
            (:func:`~mimplug.models.losses.ranking.pairwise_ranking_loss`).
            Defaults to True; False: their standardised losses.
        weight (float): Weight of the loss, >= 0. Defaults to 1.
        init_cfg (dict, optional): MMEngine's initialisation config.

    Raises:
        ConfigError: A value out of range.

    Source: Wang et al., HPM, CVPR 2023 (arXiv 2304.05919). There a light
    transformer decoder with a moving average predicts a reconstruction loss;
    the MLP on the teacher's tokens and the cross-entropy are our adaptation.
    """

    def __init__(self, in_channels: int, hidden_channels: int = 256, *,
                 relative: bool = True, weight: float = 1.0,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if min(in_channels, hidden_channels) < 1:
            raise ConfigError(
                f'PatchDifficulty: in_channels={in_channels}, '
                f'hidden_channels={hidden_channels} must be positive')
        check_range('weight', weight, 0.0, float('inf'))
        self.relative, self.weight = relative, weight
        # a common offset changes no order, so relative needs no last bias
        self.mlp = nn.Sequential(
            nn.LayerNorm(in_channels),
            nn.Linear(in_channels, hidden_channels), nn.GELU(),
            nn.Linear(hidden_channels, 1, bias=not relative))

    def init_weights(self) -> None:
        """Truncated normal 0.02, zero biases; then ``init_cfg``."""
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        super().init_weights()

    def forward(self, tokens: Tensor) -> Tensor:
        """Difficulties (…,) of tokens (…, D)."""
        difficulty: Tensor = self.mlp(tokens.detach()).squeeze(-1)
        return difficulty

    def loss(self, tokens: Tensor, mask: Mask, rows: tuple[Tensor, Tensor],
             losses: Tensor) -> Tensor:
        """How well it knew what would be hard.

        Args:
            tokens (Tensor): (M, L, D) of the teacher.
            mask (Mask): Of the M rows.
            rows (tuple[Tensor, Tensor]): ``mask.hidden_rows()``, (R,) each.
            losses (Tensor): (R,) the student's loss there.

        Returns:
            Tensor: Scalar, weighted; exactly 0 if nothing is hidden.
        """
        index, valid = rows
        places = (tokens.shape[0], tokens.shape[1])
        predicted = self(tokens.flatten(0, 1)[index])
        with torch.autocast(tokens.device.type, enabled=False):
            predicted, target = (
                spread_tokens(value, index, valid, places)
                for value in (predicted, losses.detach()))
            measure = (pairwise_ranking_loss if self.relative
                       else standardised_loss)
            return self.weight * measure(predicted, target, mask.tokens)
