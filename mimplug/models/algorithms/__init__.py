"""Algorithms: one file each, read like the paper's figure."""
from .base import KeyedSelfSupervisor
from .byol import BYOL
from .ibot import IBOT
from .masked import MaskedDistillation
from .moco import MoCo
from .mugs import Mugs
from .mugs_memories import MugsMemories
from .pair_term import PairTerm
from .saliency_moco import SaliencyMoCo
from .siamese import Siamese
from .simclr import SimCLR
from .simsiam import SimSiam
from .stock import CAE, MAE, BEiT, MaskFeat, SimMIM
from .takes_masks import TakesMasks

__all__ = [
    'BYOL',
    'CAE',
    'IBOT',
    'MAE',
    'BEiT',
    'KeyedSelfSupervisor',
    'MaskFeat',
    'MaskedDistillation',
    'MoCo',
    'Mugs',
    'MugsMemories',
    'PairTerm',
    'SaliencyMoCo',
    'Siamese',
    'SimCLR',
    'SimMIM',
    'SimSiam',
    'TakesMasks'
]
