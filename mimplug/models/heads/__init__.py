"""Heads between backbone tokens and losses."""
from .prototype_head import PrototypeHead

__all__ = ['PrototypeHead']
