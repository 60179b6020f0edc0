"""One transformer block on MMPretrain's layer, with what masking needs.

The parameters stay those of ``mmpretrain``'s ``TransformerEncoderLayer``, so
every key loads into the stock class; only the arithmetic is ours: attention
weights on request, and stochastic depth from given draws.
"""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import (
    TransformerEncoderLayer,
)
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn


class BlockOutput(NamedTuple):
    """Tokens (M, T, D) and, if asked for, softmaxed attention."""
    tokens: Tensor
    attention: Tensor | None


def drop_path_scale(uniform: Tensor, rate: float) -> Tensor:
    """Per-sample factors of stochastic depth.

    Args:
        uniform (Tensor): Draws in [0, 1), any shape.
        rate (float): Probability that a sample skips the branch, in [0, 1).

    Returns:
        Tensor: 0 where ``uniform < rate``, else ``1 / (1 - rate)``; same
        shape.
    """
    return (uniform >= rate).to(uniform.dtype) / (1.0 - rate)


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """Softmax(q k^T / sqrt(d)), the softmax in float32 or better.

    Args:
        query (Tensor): (M, H, Q, d).
        key (Tensor): (M, H, T, d).

    Returns:
        Tensor: (M, H, Q, T); float32, or float64 for float64 inputs.
    """
    scores = (query @ key.transpose(-2, -1)).mul(query.shape[-1]**-0.5)
    dtype = torch.promote_types(scores.dtype, torch.float32)
    return scores.softmax(dim=-1, dtype=dtype)


def _attend(attn: MultiheadAttention, x: Tensor,
            want: str | None) -> tuple[Tensor, Tensor | None]:
    """Self-attention up to the output projection."""
    rows, length, width = x.shape
    q, k, v = attn.qkv(x).reshape(
        rows, length, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    weights = None
    if want == 'full' and not attn.attn_drop:
        weights = attention_weights(q, k)
        out = weights.to(v.dtype) @ v
    else:
        if want is not None:
            part = q if want == 'full' else q[:, :, :1]
            weights = attention_weights(part, k)
        dropout = attn.attn_drop if attn.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    if want == 'cls' and weights is not None:
        weights = weights[:, :, 0]
    out = attn.proj(out.transpose(1, 2).reshape(rows, length, width))
    return attn.gamma1(attn.proj_drop(out)), weights


def feed_forward(layer: TransformerEncoderLayer, x: Tensor) -> Tensor:
    """Norm, MLP and layer scale of a block: (…, D) to (…, D)."""
    ffn = layer.ffn
    out: Tensor = getattr(ffn, 'gamma2', nn.Identity())(
        ffn.layers(layer.ln2(x)))
    return out


def run_block(layer: TransformerEncoderLayer, x: Tensor,
              scale: Tensor | None = None,
              want: str | None = None) -> BlockOutput:
    r"""Pre-norm block on the parameters of an MMPretrain layer.

    .. math::
        y = x + s_0\, attn(ln_1(x)), \quad out = y + s_1\, ffn(ln_2(y))

    Args:
        layer (TransformerEncoderLayer): Of ``mmpretrain``, its own drop path
            rate 0.
        x (Tensor): Tokens (M, T, D), CLS first.
        scale (Tensor, optional): Stochastic-depth factors (M, 2) of the two
            branches. None: both 1.
        want (str, optional): ``'cls'`` for the row of the CLS query,
            ``'full'`` for the whole matrix. None: no attention.

    Returns:
        BlockOutput: tokens (M, T, D); attention (M, H, T) for ``'cls'``,
        (M, H, T, T) for ``'full'``, else None.

    Source: Block and Attention of ``models/vision_transformer.py`` in
    gkakogeorgiou/attmask.
    """
    out, weights = _attend(layer.attn, layer.ln1(x), want)
    if scale is not None:
        out = out * scale[:, 0, None, None].to(out.dtype)
    x = x + out
    out = feed_forward(layer, x)
    if scale is not None:
        out = out * scale[:, 1, None, None].to(out.dtype)
    return BlockOutput(x + out, weights)
