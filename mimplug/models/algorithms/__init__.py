"""Algorithms: one file each, read like the paper's figure."""
from .base import KeyedSelfSupervisor
from .ibot import IBOT
from .masked import MaskedDistillation

__all__ = ['IBOT', 'KeyedSelfSupervisor', 'MaskedDistillation']
