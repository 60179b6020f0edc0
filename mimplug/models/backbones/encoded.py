"""What a backbone returns to an algorithm."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Encoded:
    """What :meth:`MaskedViT.encode` returns.

    Args:
        tokens (Tensor): Normed tokens (M, 1 + L, D), CLS first. With
            ``out_type='avg_featmap'`` row 0 is the normed mean of the patch
            tokens and the others are the last block's output.
        grid (tuple[int, int]): Patch grid (Hp, Wp), before ``keep_ids``.
        attention (Mapping): Absolute layer index to softmaxed attention,
            (M, H, 1 + L) CLS rows or (M, H, 1 + L, 1 + L) matrices, H = 1
            for those averaged over the heads.
        intermediates (Mapping): Absolute layer index to the tokens after that
            layer and the final norm, (M, 1 + L, D).
    """
    tokens: Tensor
    grid: tuple[int, int]
    attention: Mapping[int, Tensor] = field(default_factory=dict)
    intermediates: Mapping[int, Tensor] = field(default_factory=dict)

    @property
    def cls(self) -> Tensor:
        """CLS (or mean-pooled) features (M, D)."""
        return self.tokens[:, 0]

    @property
    def patches(self) -> Tensor:
        """Patch tokens (M, L, D)."""
        return self.tokens[:, 1:]
