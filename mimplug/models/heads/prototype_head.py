"""Prototype head of DINO, iBOT and Mugs."""
from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mimplug.errors import ConfigError, check_choice
from mimplug.registry import MODELS

ACTIVATIONS = {'gelu': nn.GELU, 'relu': nn.ReLU}
NORMS = {'ln': nn.LayerNorm, 'bn': nn.BatchNorm1d, 'syncbn': nn.SyncBatchNorm}


def _prototypes(width: int, count: int, frozen_norm: bool) -> nn.Linear:
    """Weight-normalised linear layer whose magnitudes start at 1."""
    layer = nn.Linear(width, count, bias=False)
    magnitude = weight_norm(layer).parametrizations.weight.original0
    nn.init.ones_(magnitude)
    magnitude.requires_grad = not frozen_norm
    return layer


@MODELS.register_module()
class PrototypeHead(BaseModule):
    r"""MLP, L2 norm and weight-normalised prototypes.

    .. math::
        z = MLP(x) / \lVert MLP(x) \rVert_2, \quad
        logits = W z, \quad W_k = g_k v_k / \lVert v_k \rVert_2

    :meth:`project` gives z and :meth:`cls_logits` / :meth:`patch_logits` the
    two products, so that a loss can ask for the tokens it needs. Because the
    last product is linear, the mean logit of many tokens is the logit of
    their mean z.

    Args:
        in_channels (int): D, width of the tokens.
        num_prototypes (int): K, outputs for the CLS token.
        patch_prototypes (int, optional): K', outputs for patch tokens.
            Defaults to ``num_prototypes``.
        shared (bool): One prototype layer for CLS and patches; needs
            K = K'. Defaults to True (every published AttMask setting).
        num_layers (int): Linear layers of the MLP, >= 1. Defaults to 3.
        hidden_channels (int): Width inside the MLP. Defaults to 2048.
        bottleneck_channels (int): Width of z; 0: the MLP ends in K outputs,
            without L2 norm and prototypes. Defaults to 256.
        norm_last_layer (bool): Freeze the magnitudes g at 1.
            Defaults to True.
        norm (str, optional): ``'ln'``, ``'bn'`` or ``'syncbn'`` after each
            hidden linear layer. Defaults to None.
        act (str): ``'gelu'`` or ``'relu'``. Defaults to ``'gelu'``.
        legacy_shared_norm (bool): Use one norm module for every hidden layer,
            as the released code does by accident. Defaults to False.
        init_cfg (dict, optional): MMEngine's initialisation config.

    Raises:
        ConfigError: Sizes, names or combinations that make no sense.

    Source: ``models/head.py`` of gkakogeorgiou/attmask and bytedance/ibot;
    state keys are theirs, with torch's spelling of weight norm.
    """

    def __init__(self,
                 in_channels: int,
                 num_prototypes: int = 8192,
                 patch_prototypes: int | None = None,
                 *,
                 shared: bool = True,
                 num_layers: int = 3,
                 hidden_channels: int = 2048,
                 bottleneck_channels: int = 256,
                 norm_last_layer: bool = True,
                 norm: str | None = None,
                 act: str = 'gelu',
                 legacy_shared_norm: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        patch_prototypes = patch_prototypes or num_prototypes
        check_choice('act', act, ACTIVATIONS)
        check_choice('norm', norm, [None, *NORMS])
        if min(in_channels, num_prototypes, patch_prototypes, num_layers,
               hidden_channels) < 1 or bottleneck_channels < 0:
            raise ConfigError('PrototypeHead: every size must be positive')
        if shared and patch_prototypes != num_prototypes:
            raise ConfigError(
                f'shared=True needs equal numbers of prototypes, got '
                f'{num_prototypes} and {patch_prototypes}; set shared=False')
        self.num_prototypes = num_prototypes
        self.patch_prototypes = patch_prototypes
        self.shared = shared
        self.norm = norm
        self.mlp = self._build_mlp(
            in_channels, hidden_channels,
            bottleneck_channels or num_prototypes, num_layers, act,
            legacy_shared_norm)
        self.last_layer: nn.Linear | None = None
        self.last_layer2: nn.Linear | None = None
        if bottleneck_channels:
            self.last_layer = _prototypes(
                bottleneck_channels, num_prototypes, norm_last_layer)
            if not shared:
                self.last_layer2 = _prototypes(
                    bottleneck_channels, patch_prototypes, norm_last_layer)

    def _build_mlp(self, width: int, hidden: int, out: int, num_layers: int,
                   act: str, one_norm: bool) -> nn.Sequential:
        """Linear, [norm], activation, …, linear."""
        layers: list[nn.Module] = []
        norm: nn.Module | None = None
        for _ in range(num_layers - 1):
            layers.append(nn.Linear(width, hidden))
            if self.norm is not None:
                if norm is None or not one_norm:
                    norm = NORMS[self.norm](hidden)
                layers.append(norm)
            layers.append(ACTIVATIONS[act]())
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, out))

    @property
    def has_batch_norm(self) -> bool:
        """Whether the output of a token depends on the other tokens."""
        return self.norm in ('bn', 'syncbn')

    def init_weights(self) -> None:
        """Truncated normal 0.02 for the MLP, zero biases; then init_cfg.

        The directions v keep PyTorch's default for linear layers.
        """
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        super().init_weights()

    def project(self, tokens: Tensor) -> Tensor:
        """Bottleneck features z.

        Args:
            tokens (Tensor): (…, D).

        Returns:
            Tensor: (…, bottleneck_channels), of unit length; without a
            bottleneck the MLP's output (…, K).
        """
        x = tokens
        if self.has_batch_norm:
            x = x.flatten(0, -2)
        x = self.mlp(x)
        if self.last_layer is not None:
            x = F.normalize(x, dim=-1)
        return x.view(*tokens.shape[:-1], x.shape[-1])

    def cls_logits(self, z: Tensor) -> Tensor:
        """Products with the CLS prototypes: (…, bottleneck) to (…, K)."""
        if self.last_layer is None:
            return z
        return F.linear(z, self.last_layer.weight)

    def patch_logits(self, z: Tensor) -> Tensor:
        """Products with the patch prototypes: (…, bottleneck) to (…, K')."""
        if self.last_layer2 is None:
            return self.cls_logits(z)
        return F.linear(z, self.last_layer2.weight)

    def forward(self, tokens: Tensor) -> Any:
        """Logits of every token.

        Args:
            tokens (Tensor): (B, D) CLS features, or (B, 1 + L, D).

        Returns:
            Tensor | tuple[Tensor, Tensor]: (B, K), or the pair (B, K) and
            (B, L, K').
        """
        z = self.project(tokens)
        if tokens.dim() == 2:
            return self.cls_logits(z)
        return self.cls_logits(z[:, 0]), self.patch_logits(z[:, 1:])
