"""Masks made from attention rollout."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mimplug.masking.generators.attention import AttentionMask
from mimplug.masking.ratios import RatioLike
from mimplug.masking.scores import RolloutScore
from mimplug.masking.select import Selector
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class RolloutMask(AttentionMask):
    """Hides the patches that reach the CLS token most, over many layers.

    :class:`AttentionMask` whose score is the attention rollout of a range of
    layers; a short form of
    ``AttentionMask(score=dict(type='RolloutScore', …))``.

    Args:
        preset (str): 'all', 'last', 'mid' or one of the released variants,
            see :class:`mimplug.masking.RolloutScore`. Defaults to 'all'.
        mode (str, optional): As in :class:`AttentionMask`.
        ratio (RatioSampler | float | Sequence | dict): Defaults to
            (0.3, 0.2).
        apply_prob (float): Defaults to 0.5.
        show_max (float): Defaults to 0.1.
        show_ratio (float, optional): As in :class:`AttentionMask`.
        select (Selector | dict, optional): As in :class:`AttentionMask`.
        start (int, optional): First layer, instead of the preset's.
        end (int, optional): Last layer, included.
        order (str, optional): 'standard' or 'reversed'.
        normalise (bool, optional): Whether rows of each factor sum to 1.
        residual (float): Weight of the identity. Defaults to 1.
        head_fusion (str): 'mean', 'max' or 'min'. Defaults to 'mean'.
        discard_ratio (float): Share of small attention that is dropped.
            Defaults to 0.

    Raises:
        ConfigError: If a name is unknown or a number out of range.

    Source: see :class:`mimplug.masking.RolloutScore`.
    """

    provenance: ClassVar[str] = 'code'
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {}, {'preset': 'last', 'mode': 'hint', 'show_max': 0.3},
        {'preset': 'mid', 'ratio': 0.4},
        {'order': 'reversed', 'normalise': False},
        {'start': -2, 'head_fusion': 'max', 'residual': 0.5,
         'discard_ratio': 0.5})

    def __init__(self, preset: str = 'all', mode: str | None = None,
                 ratio: RatioLike = (0.3, 0.2), apply_prob: float = 0.5, *,
                 show_max: float = 0.1, show_ratio: float | None = None,
                 select: Selector | Mapping[str, Any] | None = None,
                 start: int | None = None, end: int | None = None,
                 order: str | None = None, normalise: bool | None = None,
                 residual: float = 1.0, head_fusion: str = 'mean',
                 discard_ratio: float = 0.0) -> None:
        super().__init__(
            mode, ratio, apply_prob, show_max=show_max,
            show_ratio=show_ratio, select=select, score=RolloutScore(
                preset, start=start, end=end, order=order,
                normalise=normalise, residual=residual,
                head_fusion=head_fusion, discard_ratio=discard_ratio))
