"""Where to hide: context in, mask out; knows no model and no data set.

A *generator* maps a :class:`MaskContext` (grid, draws, progress, attention …)
to a :class:`Mask`. Its parts are objects of their own: *ratio* (how much),
*scores* (which tokens first), *selector* (which ranks), probability.
"""
from mimplug.masking.context import MaskContext
from mimplug.masking.generators import (
    PROVENANCE,
    AMTMask,
    AttentionMask,
    BlockMask,
    CellMask,
    CheckerboardMask,
    ColorNoiseMask,
    HardPatchMask,
    InverseBlockMask,
    InverseRectangleMask,
    MaskGenerator,
    MILANMask,
    MSTMask,
    MultiBlockMask,
    NoMask,
    PartMask,
    PerView,
    RandomMask,
    RatioMask,
    RolloutMask,
    ScoreMask,
    SimMIMMask,
    UniformCellMask,
    build_generator,
    cluster_tokens,
)
from mimplug.masking.mask import Mask
from mimplug.masking.needs import LayerSpan, Needs
from mimplug.masking.ratio_schedules import DelayedRatio, ScheduledRatio
from mimplug.masking.ratios import (
    ChoiceRatio,
    FixedRatio,
    RatioSampler,
    StratifiedRatio,
    UniformRatio,
    build_ratio,
)
from mimplug.masking.scores import (
    LogScore,
    PowerScore,
    RawScore,
    RolloutScore,
    Score,
    build_score,
    fuse_heads,
    roll_out,
)
from mimplug.masking.select import (
    BottomSelector,
    GumbelSelector,
    HintSelector,
    Selector,
    TopSelector,
    apply_probability,
    draw_ranks,
    first_ranks,
    gumbel_keys,
    hide_ranks,
    order_tokens,
    select_bottom,
    select_top,
)
from mimplug.masking.selectors import EasyToHardSelector, ThinnedSelector

__all__ = [
    'PROVENANCE', 'AMTMask', 'AttentionMask', 'BlockMask', 'BottomSelector',
    'CellMask', 'CheckerboardMask', 'ChoiceRatio', 'ColorNoiseMask',
    'DelayedRatio', 'EasyToHardSelector', 'FixedRatio', 'GumbelSelector',
    'HardPatchMask', 'HintSelector', 'InverseBlockMask',
    'InverseRectangleMask', 'LayerSpan', 'LogScore', 'MILANMask', 'MSTMask',
    'Mask', 'MaskContext', 'MaskGenerator', 'MultiBlockMask', 'Needs',
    'NoMask', 'PartMask', 'PerView', 'PowerScore', 'RandomMask', 'RatioMask',
    'RatioSampler', 'RawScore', 'RolloutMask', 'RolloutScore',
    'ScheduledRatio', 'Score', 'ScoreMask', 'Selector', 'SimMIMMask',
    'StratifiedRatio', 'ThinnedSelector', 'TopSelector', 'UniformCellMask',
    'UniformRatio', 'apply_probability', 'build_generator', 'build_ratio',
    'build_score', 'cluster_tokens', 'draw_ranks', 'first_ranks', 'fuse_heads',
    'gumbel_keys', 'hide_ranks', 'order_tokens', 'roll_out', 'select_bottom',
    'select_top',
]
