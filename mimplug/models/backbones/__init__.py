"""Backbones that understand masks."""
from .block import attention_weights, run_block
from .depth import (
    BlockDepth,
    DepthDraws,
    KeptRows,
    add_branch,
    drop_path_scale,
    kept_rows,
)
from .encoded import Encoded
from .last_block import run_last_block
from .local_group_vit import LocalGroupViT, RawTokens
from .mae_vit import MAEViT
from .masked_block import MaskedBlock
from .masked_vit import MaskedViT
from .pos_embed import resize_pos_embed_by_scale
from .requested import encode_requested

__all__ = [
    'BlockDepth', 'DepthDraws', 'Encoded', 'KeptRows', 'LocalGroupViT',
    'MAEViT', 'MaskedBlock', 'MaskedViT', 'RawTokens', 'add_branch',
    'attention_weights', 'drop_path_scale', 'encode_requested', 'kept_rows',
    'resize_pos_embed_by_scale', 'run_block', 'run_last_block'
]
