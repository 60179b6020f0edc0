"""A pass that computes no more than the tokens asked for."""
from __future__ import annotations

from torch import Tensor

from .depth import DepthDraws
from .masked_vit import MaskedViT


def encode_requested(backbone: MaskedViT,
                     images: Tensor,
                     *,
                     patches: Tensor | None = None,
                     hidden: Tensor | None = None,
                     keep_ids: Tensor | None = None,
                     drop_path: DepthDraws = None,
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
            (M * L) patch tokens that enter the blocks, repeats allowed.
            None: only CLS.
        hidden (Tensor, optional): Bool (M, L) or (M, 1, Hp, Wp), True =
            replaced by the mask token.
        keep_ids (Tensor, optional): int64 (M, Lk): only these patches enter
            the blocks; ``patches`` then counts in (M * Lk).
        drop_path (Tensor | ndarray, optional): As in :meth:`MaskedViT.encode`.
        last_block_rule (bool): False computes every token and then selects,
            for comparison. Defaults to True.

    Returns:
        tuple[Tensor, Tensor]: Normed CLS tokens (M, D) and patches (R, D),
        R = 0 without ``patches``.
    """
    if not last_block_rule or backbone.out_type == 'avg_featmap':
        encoded = backbone.encode(images, hidden=hidden, keep_ids=keep_ids,
                                  drop_path=drop_path)
        flat = encoded.patches.flatten(0, 1)
        return encoded.cls, flat[:0] if patches is None else flat[patches]
    x, _ = backbone.embed(images, hidden, keep_ids)
    depth = backbone.block_depths(x, drop_path)
    x = backbone.run_blocks(x, depth, stop=backbone.num_layers - 1)
    out = backbone.run_layer(-1, x, depth[-1], None, True, patches).tokens
    out = backbone.final_norm_of(out)
    return out[:len(x)], out[len(x):]
