"""Projector and predictor in front of an InfoNCE loss."""
from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_choice
from mimplug.registry import MODELS

NORMS = {'bn': nn.BatchNorm1d, 'syncbn': nn.SyncBatchNorm}


@MODELS.register_module()
class ProjectorPredictorHead(BaseModule):
    r"""MLP without biases to an embedding, and a second one for a student.

    .. math::
        teacher: \; \overline{P(x)}, \qquad
        student: \; \overline{Q(\overline{P(x)})}, \qquad
        \overline{v} = v / \lVert v \rVert_2

    Args:
        in_channels (int): D, width of the features.
        hidden_channels (int): Width inside P. Defaults to 2048.
        out_channels (int): d, width of the embedding. Defaults to 256.
        predictor_channels (int): Width inside Q. Defaults to 4096.
        num_layers (int): Linear layers of P, >= 1. Defaults to 3.
        norm (str, optional): ``'bn'`` or ``'syncbn'`` after each hidden layer
            of P. Defaults to None.
        norm_before_pred (bool): Scale P(x) to length 1 before Q.
            Defaults to True.
        with_predictor (bool): Own Q: a student has it, a teacher has not.
            Defaults to True.
        init_cfg (dict, optional): MMEngine's initialisation config.

    Raises:
        ConfigError: A size below 1 or an unknown norm.

    Source: ``Instance_Superivsion_Head`` and
    ``Local_Group_Superivsion_Head`` of sail-sg/mugs ``src/model.py``; layer
    numbers are theirs.
    """

    def __init__(self,
                 in_channels: int,
                 *,
                 hidden_channels: int = 2048,
                 out_channels: int = 256,
                 predictor_channels: int = 4096,
                 num_layers: int = 3,
                 norm: str | None = None,
                 norm_before_pred: bool = True,
                 with_predictor: bool = True,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        check_choice('norm', norm, [None, *NORMS])
        sizes = dict(
            in_channels=in_channels, hidden_channels=hidden_channels,
            out_channels=out_channels, predictor_channels=predictor_channels,
            num_layers=num_layers)
        for name, size in sizes.items():
            if size < 1:
                raise ConfigError(f'{name}={size!r}: allowed is >= 1')
        self.out_channels = out_channels
        self.norm_before_pred = norm_before_pred
        layers: list[nn.Module] = []
        width = in_channels
        for _ in range(num_layers - 1):
            layers.append(nn.Linear(width, hidden_channels, bias=False))
            if norm is not None:
                layers.append(NORMS[norm](hidden_channels))
            layers.append(nn.GELU())
            width = hidden_channels
        self.projector = nn.Sequential(
            *layers, nn.Linear(width, out_channels, bias=False))
        self.predictor = nn.Sequential(
            nn.Linear(out_channels, predictor_channels, bias=False),
            nn.GELU(),
            nn.Linear(predictor_channels, out_channels, bias=False),
        ) if with_predictor else None

    def init_weights(self) -> None:
        """Truncated normal 0.02 for the projector; then ``init_cfg``.

        The predictor keeps PyTorch's default, as in the release, which makes
        it after its initialisation has run.
        """
        for module in self.projector:
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
        super().init_weights()

    def project(self, features: Tensor) -> Tensor:
        """The teacher's path: (M, D) to unit embeddings (M, d)."""
        return F.normalize(self.projector(features), dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """The student's path; without a predictor the teacher's.

        Args:
            features (Tensor): (M, D).

        Returns:
            Tensor: Unit embeddings (M, d).
        """
        if self.predictor is None:
            return self.project(features)
        z = self.projector(features)
        if self.norm_before_pred:
            z = F.normalize(z, dim=-1)
        return F.normalize(self.predictor(z), dim=-1)
