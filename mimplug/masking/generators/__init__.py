"""Mask generators: one file a family."""
from mimplug.masking.generators.attention import AttentionMask
from mimplug.masking.generators.base import (
    PROVENANCE,
    CellMask,
    MaskGenerator,
    RatioMask,
    ScoreMask,
    build_generator,
)
from mimplug.masking.generators.block import BlockMask
from mimplug.masking.generators.coarse import (
    CheckerboardMask,
    SimMIMMask,
    UniformCellMask,
)
from mimplug.masking.generators.difficulty import HardPatchMask
from mimplug.masking.generators.focal import FocalMask
from mimplug.masking.generators.grid import GridBlockMask, GridDiscreteMask
from mimplug.masking.generators.inverse import (
    InverseBlockMask,
    InverseRectangleMask,
)
from mimplug.masking.generators.mixed import MixedMask
from mimplug.masking.generators.multi_block import MultiBlockMask
from mimplug.masking.generators.noise import ColorNoiseMask
from mimplug.masking.generators.parts import PartMask, cluster_tokens
from mimplug.masking.generators.per_view import PerView
from mimplug.masking.generators.random import NoMask, RandomMask
from mimplug.masking.generators.rollout import RolloutMask
from mimplug.masking.generators.saliency import SaliencyMask
from mimplug.masking.generators.sampled import AMTMask, MILANMask, MSTMask

__all__ = [
    'PROVENANCE',
    'AMTMask',
    'AttentionMask',
    'BlockMask',
    'CellMask',
    'CheckerboardMask',
    'ColorNoiseMask',
    'FocalMask',
    'GridBlockMask',
    'GridDiscreteMask',
    'HardPatchMask',
    'InverseBlockMask',
    'InverseRectangleMask',
    'MILANMask',
    'MSTMask',
    'MaskGenerator',
    'MixedMask',
    'MultiBlockMask',
    'NoMask',
    'PartMask',
    'PerView',
    'RandomMask',
    'RatioMask',
    'RolloutMask',
    'SaliencyMask',
    'ScoreMask',
    'SimMIMMask',
    'UniformCellMask',
    'build_generator',
    'cluster_tokens',
]
