"""Masks made from the attention of the teacher (AttMask)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from mimplug.errors import ConfigError, check_choice
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import ScoreMask
from mimplug.masking.ratios import RatioLike
from mimplug.masking.scores import RawScore, Score, build_score
from mimplug.masking.select import (
    BottomSelector,
    HintSelector,
    Selector,
    TopSelector,
)
from mimplug.registry import TASK_UTILS

MODES = ('high', 'low', 'hint')


@TASK_UTILS.register_module()
class AttentionMask(ScoreMask):
    r"""AttMask: hides the patches that the teacher attends to most.

    The score of a patch is the attention of the CLS token to it, averaged
    over the heads, or another one of :mod:`mimplug.masking.scores`: heads
    fused otherwise, earlier layers, rollout. Of L patches
    :math:`k = \lfloor L r \rfloor` are hidden:

    - 'high': those with the largest scores;
    - 'low': those with the smallest ones;
    - 'hint': as 'high', but :math:`\lfloor L s \rfloor` of the
      :math:`\lfloor L\, show\_max \rfloor` largest ones stay visible.

    A row keeps its mask with probability ``apply_prob``. Draws: 'ratio',
    'show_ratio', 'reveal', 'apply'.

    Args:
        mode (str): 'high', 'low' or 'hint'. Defaults to 'high'.
        ratio (RatioSampler | float | Sequence | dict): r. Defaults to the
            published range (0.3, 0.2), one draw for each view of each image;
            the released code draws one for the batch of a rank:
            ``dict(type='UniformRatio', mean=0.3, var=0.2, per='rank')``.
        apply_prob (float): Defaults to 0.5.
        show_max (float): For 'hint'. Defaults to 0.1.
        show_ratio (float, optional): s of 'hint'. By default ``show_max``
            times an independent draw of ``ratio``.
        layer (int, optional): Layer of the teacher; negative ones count
            from the end. Defaults to -1.
        score (Score | dict, optional): Which patches come first, such as
            ``dict(type='LogScore', layer=4)``; ``layer`` must then be left
            out. Defaults to :class:`mimplug.masking.RawScore`.
        select (Selector | dict, optional): Another rule than the three
            modes, such as ``dict(type='GumbelSelector')``; ``mode`` must
            then be left out.

    Raises:
        ConfigError: If the mode is unknown or a number out of range.

    Source: ``attmask.py`` of gkakogeorgiou/attmask (Kakogeorgiou et al.,
    ECCV 2022, section 3); other layers and head fusions:
    ``util/masking/choose_mask.py`` of
    DimitrisReppas/MIM_on_self-supervision, which draws a ratio for each view
    of each image, as the defaults here do.
    """

    provenance: ClassVar[str] = 'code'
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {'mode': 'high', 'apply_prob': 1.0},
        {'mode': 'low', 'ratio': 0.4, 'layer': 0},
        {'mode': 'hint', 'show_max': 0.3},
        {'select': {'type': 'GumbelSelector', 'temperature': 0.1}},
        {'score': {'type': 'LogScore', 'layer': 0}},
        {'score': {'type': 'PowerScore', 'power': 0.25}, 'mode': 'low'},
        {'score': {'type': 'LogScore', 'legacy_running_sum': True}},
    )

    def __init__(self, mode: str | None = None, ratio: RatioLike = (0.3, 0.2),
                 apply_prob: float = 0.5, *, show_max: float = 0.1,
                 show_ratio: float | None = None, layer: int | None = None,
                 score: Score | Mapping[str, Any] | None = None,
                 select: Selector | Mapping[str, Any] | None = None) -> None:
        if select is None:
            select = self._selector(mode or 'high', show_max, show_ratio)
        elif mode is not None:
            raise ConfigError(
                f'mode={mode!r} and select={select!r} exclude each other')
        super().__init__(ratio, select=select, apply_prob=apply_prob)
        if score is not None and layer is not None:
            raise ConfigError(
                f'layer={layer} and score={score!r} exclude each other: the '
                'score has a layer of its own')
        if score is None:
            score = RawScore(-1 if layer is None else layer)
        self.score = build_score(score)
        self.needs = self.score.needs
        self.batch_coupled |= self.score.batch_coupled

    @staticmethod
    def _selector(mode: str, show_max: float, show_ratio: float | None
                  ) -> Selector:
        check_choice('mode', mode, MODES)
        if mode == 'hint':
            return HintSelector(show_max, show_ratio)
        return TopSelector() if mode == 'high' else BottomSelector()

    def scores(self, context: MaskContext) -> torch.Tensor:
        return self.score(context)
