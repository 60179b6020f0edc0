"""Networks, heads, losses, memories, teachers and algorithms."""
from . import algorithms, backbones, heads, losses, memory

__all__ = ['algorithms', 'backbones', 'heads', 'losses', 'memory']
