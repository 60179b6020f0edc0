"""Networks, heads, losses, memories, teachers and algorithms."""
from . import (
    algorithms,
    backbones,
    heads,
    losses,
    mask_source,
    memory,
    stock_preprocessor,
)

__all__ = ['algorithms', 'backbones', 'heads', 'losses', 'mask_source',
           'memory', 'stock_preprocessor']
