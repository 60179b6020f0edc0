"""Backbones that understand masks."""
from .block import attention_weights, drop_path_scale, run_block
from .encoded import Encoded
from .masked_vit import MaskedViT
from .pos_embed import resize_pos_embed_by_scale
from .requested import encode_requested, run_last_block

__all__ = [
    'Encoded', 'MaskedViT', 'attention_weights', 'drop_path_scale',
    'encode_requested', 'resize_pos_embed_by_scale', 'run_block',
    'run_last_block'
]
