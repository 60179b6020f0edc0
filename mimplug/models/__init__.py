"""Networks, heads, losses, memories, teachers and algorithms."""
from . import (
    algorithms,
    backbones,
    heads,
    losses,
    mask_source,
    masking_preprocessor,
    memory,
    run_record,
    stock_preprocessor,
    targets,
)

__all__ = ['algorithms', 'backbones', 'heads', 'losses', 'mask_source',
           'masking_preprocessor', 'memory', 'run_record',
           'stock_preprocessor', 'targets']
