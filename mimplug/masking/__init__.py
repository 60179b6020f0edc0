"""Where to hide: context in, mask out; knows no model and no data set.

A *generator* maps a :class:`MaskContext` (grid, draws, progress, attention …)
to a :class:`Mask`. Its parts are objects of their own: *ratio* (how much),
*scores* (which tokens first), *selector* (which ranks), probability.
"""
from mimplug.masking.context import MaskContext
from mimplug.masking.generators import (
    AttentionMask,
    BlockMask,
    MaskGenerator,
    NoMask,
    RandomMask,
    ScoreMask,
    build_generator,
    fuse_heads,
)
from mimplug.masking.mask import Mask
from mimplug.masking.needs import Needs
from mimplug.masking.ratios import (
    ChoiceRatio,
    DelayedRatio,
    FixedRatio,
    RatioSampler,
    ScheduledRatio,
    StratifiedRatio,
    UniformRatio,
    build_ratio,
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

__all__ = [
    'AttentionMask', 'BlockMask', 'BottomSelector', 'ChoiceRatio',
    'DelayedRatio', 'FixedRatio', 'GumbelSelector', 'HintSelector', 'Mask',
    'MaskContext', 'MaskGenerator', 'Needs', 'NoMask', 'RandomMask',
    'RatioSampler', 'ScheduledRatio', 'ScoreMask', 'Selector',
    'StratifiedRatio', 'TopSelector', 'UniformRatio', 'apply_probability',
    'build_generator', 'build_ratio', 'draw_ranks', 'first_ranks',
    'fuse_heads', 'gumbel_keys', 'hide_ranks', 'order_tokens',
    'select_bottom', 'select_top',
]
