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
from torch.utils.checkpoint import checkpoint

from .block import feed_forward
from .masked_vit import MaskedViT


def encode_requested(backbone: MaskedViT,
                     images: Tensor,
                     *,
                     patches: Tensor | None = None,
                     hidden: Tensor | None = None,
                     drop_path: Tensor | None = None,
                     last_block_rule: bool = True) -> tuple[Tensor, Tensor]:
    """CLS tokens and some patch tokens, cheaper than all tokens.

    The numbers are those of :meth:`MaskedViT.encode`; in the last block the
    output projection and the MLP (for CLS alone the queries, too) run on the
    requested tokens only.

    Args:
        backbone (MaskedViT): Any; where the features are the mean of the
            patches all of them are needed and computed.
        images (Tensor): (M, C, H, W), normalised.
        patches (Tensor, optional): int64 (R,), indices into the flattened
            (M * L) patch tokens, repeats allowed. None: only CLS.
        hidden (Tensor, optional): Bool (M, L) or (M, 1, Hp, Wp), True =
            replaced by the mask token.
        drop_path (Tensor, optional): As in :meth:`MaskedViT.encode`.
        last_block_rule (bool): False computes every token and then selects,
            for comparison. Defaults to True.

    Returns:
        tuple[Tensor, Tensor]: Normed CLS tokens (M, D) and patches (R, D),
        R = 0 without ``patches``.
    """
    if not last_block_rule or backbone.out_type == 'avg_featmap':
        encoded = backbone.encode(images, hidden=hidden, drop_path=drop_path)
        flat = encoded.patches.flatten(0, 1)
        return encoded.cls, flat[:0] if patches is None else flat[patches]
    x, _ = backbone.embed(images, hidden)
    scale = backbone.drop_path_scales(x, drop_path)
    x = backbone.run_blocks(x, scale, stop=backbone.num_layers - 1)
    last = None if scale is None else scale[:, -1]
    layer = backbone.layers[-1]
    if backbone.recompute:
        out = checkpoint(run_last_block, layer, x, patches, last,
                         use_reentrant=False)
    else:
        out = run_last_block(layer, x, patches, last)
    out = backbone.final_norm_of(out)
    return out[:len(x)], out[len(x):]


def run_last_block(layer: TransformerEncoderLayer, x: Tensor,
                   patches: Tensor | None = None,
                   scale: Tensor | None = None) -> Tensor:
    """One block whose output is wanted for some tokens.

    Args:
        layer (TransformerEncoderLayer): Of ``mmpretrain``, its own drop path
            rate 0.
        x (Tensor): Tokens (M, T, D), CLS first.
        patches (Tensor, optional): int64 (R,) into the flattened
            (M * (T - 1)) patches. None: only CLS.
        scale (Tensor, optional): Stochastic-depth factors (M, 2).

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
    if scale is not None:
        scale = scale[row].to(out.dtype)
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
