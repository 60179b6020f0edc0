"""The last block on requested tokens only.

Heads and losses look at CLS tokens and at a few patches. The other tokens of
the last block serve as keys and values; nobody reads what becomes of them.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F
from mmpretrain.models.backbones.vision_transformer import (
    TransformerEncoderLayer,
)
from torch import Tensor

from .block import feed_forward
from .depth import BlockDepth, row_factors


def run_last_block(layer: TransformerEncoderLayer, x: Tensor,
                   patches: Tensor | None = None,
                   depth: BlockDepth = None) -> Tensor:
    """One block whose output is wanted for some tokens.

    Args:
        layer (TransformerEncoderLayer): Of ``mmpretrain``, its own drop path
            rate 0.
        x (Tensor): Tokens (M, T, D), CLS first.
        patches (Tensor, optional): int64 (R,) into the flattened
            (M * (T - 1)) patches. None: only CLS.
        depth (Tensor | tuple[KeptRows, KeptRows], optional): Stochastic
            depth. So few tokens run here that those of dropped rows are
            multiplied by 0, not left out.

    Returns:
        Tensor: (M + R, D), the M CLS tokens first.
    """
    rows, length, width = x.shape
    attn = layer.attn
    dropout = attn.attn_drop if attn.training else 0.0
    row = torch.arange(rows, device=x.device)
    token = row * length
    if patches is not None:
        owner = patches.div(length - 1, rounding_mode='floor')
        token = torch.cat((token, patches + owner + 1))
        row = torch.cat((row, owner))
    q, k, v = _queries_keys_values(layer, x, only_cls=patches is None)
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    out = out.transpose(1, 2).reshape(-1, width)
    if patches is not None:
        out = out[token]
    out = attn.gamma1(attn.proj_drop(attn.proj(out)))
    # in the precision of x: bfloat16 would round 1 / (1 - rate)
    scale = row_factors(depth, x)
    if scale is not None:
        scale = scale[row].to(x.dtype)
        out = out * scale[:, :1]
    x = x.flatten(0, 1)[token] + out
    out = feed_forward(layer, x)
    return x + (out if scale is None else out * scale[:, 1:])


def _queries_keys_values(layer: TransformerEncoderLayer, x: Tensor, *,
                         only_cls: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (M, H, Q, d), keys and values (M, H, T, d)."""
    attn, (rows, length, width) = layer.attn, x.shape
    x = layer.ln1(x)
    if not only_cls:
        q, k, v = attn.qkv(x).reshape(
            rows, length, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
        return q, k, v
    weight, bias = attn.qkv.weight, attn.qkv.bias
    q = F.linear(x[:, :1], weight[:width],
                 None if bias is None else bias[:width])
    kv = F.linear(x, weight[width:], None if bias is None else bias[width:])
    k, v = kv.reshape(rows, length, 2, attn.num_heads, -1).permute(
        2, 0, 3, 1, 4)
    return q.reshape(rows, 1, attn.num_heads, -1).transpose(1, 2), k, v
