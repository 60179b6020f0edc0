"""Algorithms: one file each, read like the paper's figure."""
from .base import KeyedSelfSupervisor
from .ibot import IBOT
from .masked import MaskedDistillation
from .mugs import Mugs
from .mugs_memories import MugsMemories
from .pair_term import PairTerm
from .stock import CAE, MAE, BEiT, MaskFeat, SimMIM
from .takes_masks import TakesMasks

__all__ = ['CAE', 'IBOT', 'MAE', 'BEiT', 'KeyedSelfSupervisor',
           'MaskFeat', 'MaskedDistillation', 'Mugs', 'MugsMemories',
           'PairTerm', 'SimMIM', 'TakesMasks']
