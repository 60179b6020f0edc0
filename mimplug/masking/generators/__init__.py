"""Mask generators: one file a family."""
from mimplug.masking.generators.attention import AttentionMask, fuse_heads
from mimplug.masking.generators.base import (
    MaskGenerator,
    ScoreMask,
    build_generator,
)
from mimplug.masking.generators.block import BlockMask
from mimplug.masking.generators.random import NoMask, RandomMask

__all__ = [
    'AttentionMask', 'BlockMask', 'MaskGenerator', 'NoMask', 'RandomMask',
    'ScoreMask', 'build_generator', 'fuse_heads',
]
