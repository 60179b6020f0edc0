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

from .depth import BlockDepth, add_branch, row_factors


class BlockOutput(NamedTuple):
    """Tokens (M, T, D) and, if asked for, softmaxed attention."""
    tokens: Tensor
    attention: Tensor | None


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
    if want is not None:
        weights = attention_weights(q[:, :, :1] if want == 'cls' else q, k)
    if weights is None or want == 'cls' or attn.attn_drop:
        dropout = attn.attn_drop if attn.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    else:
        out = weights.to(v.dtype) @ v
    if weights is not None and want == 'cls':
        weights = weights[:, :, 0]
    elif weights is not None and want == 'mean':
        weights = weights.mean(1, keepdim=True)
    out = attn.proj(out.transpose(1, 2).reshape(rows, length, width))
    return attn.gamma1(attn.proj_drop(out)), weights


def feed_forward(layer: TransformerEncoderLayer, x: Tensor) -> Tensor:
    """Norm, MLP and layer scale of a block: (…, D) to (…, D)."""
    ffn = layer.ffn
    out: Tensor = getattr(ffn, 'gamma2', nn.Identity())(
        ffn.layers(layer.ln2(x)))
    return out


def run_block(layer: TransformerEncoderLayer, x: Tensor,
              depth: BlockDepth = None,
              want: str | None = None) -> BlockOutput:
    r"""Pre-norm block on the parameters of an MMPretrain layer.

    .. math::
        y = x + s_0\, attn(ln_1(x)), \quad out = y + s_1\, ffn(ln_2(y))

    Args:
        layer (TransformerEncoderLayer): Of ``mmpretrain``, its own drop path
            rate 0.
        x (Tensor): Tokens (M, T, D), CLS first.
        depth (Tensor | tuple[KeptRows, KeptRows], optional):
            Stochastic-depth factors (M, 2) of the two branches, or the rows
            on which each of them runs. None: both factors 1.
        want (str, optional): ``'cls'`` for the row of the CLS query,
            ``'full'`` for the whole matrix, ``'mean'`` for its mean over the
            heads. None: no attention.

    Returns:
        BlockOutput: tokens (M, T, D); attention (M, H, T) for ``'cls'``,
        (M, H, T, T) for ``'full'``, (M, 1, T, T) for ``'mean'``, else None.

    Source: Block and Attention of ``models/vision_transformer.py`` in
    gkakogeorgiou/attmask.
    """
    weights: Tensor | None = None

    def attention(rows: Tensor) -> Tensor:
        nonlocal weights
        out, weights = _attend(layer.attn, layer.ln1(rows), want)
        return out

    # attention is returned for all rows, so all of them run
    x = add_branch(x, attention,
                   depth if want is None else row_factors(depth, x), 0)
    x = add_branch(x, lambda rows: feed_forward(layer, rows), depth, 1)
    return BlockOutput(x, weights)
