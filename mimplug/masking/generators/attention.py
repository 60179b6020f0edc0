"""Masks made from the attention of the teacher (AttMask)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from mimplug.errors import ConfigError, check_choice
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import ScoreMask
from mimplug.masking.needs import Needs
from mimplug.masking.ratios import RatioLike
from mimplug.masking.select import (
    BottomSelector,
    HintSelector,
    Selector,
    TopSelector,
)
from mimplug.registry import TASK_UTILS

MODES = ('high', 'low', 'hint')


def fuse_heads(attention: torch.Tensor) -> torch.Tensor:
    """Returns the mean over heads, (M, H, L) -> (M, L).

    Half precision is averaged in float32, which keeps apart scores that
    would become equal otherwise; float64 stays.
    """
    if attention.dtype in (torch.float16, torch.bfloat16):
        attention = attention.float()
    return attention.mean(1)


@TASK_UTILS.register_module()
class AttentionMask(ScoreMask):
    r"""AttMask: hides the patches that the teacher attends to most.

    The score of a patch is the attention of the CLS token to it, averaged
    over the heads. Of L patches :math:`k = \lfloor L r \rfloor` are hidden:

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
        layer (int): Layer of the teacher; negative ones count from the end.
            Defaults to -1.
        select (Selector | dict, optional): Another rule than the three
            modes, such as ``dict(type='GumbelSelector')``; ``mode`` must
            then be left out.

    Raises:
        ConfigError: If the mode is unknown or a number out of range.

    Source: ``attmask.py`` of gkakogeorgiou/attmask (Kakogeorgiou et al.,
    ECCV 2022, section 3).
    """

    examples: ClassVar = (
        {'mode': 'high', 'apply_prob': 1.0},
        {'mode': 'low', 'ratio': 0.4, 'layer': 0},
        {'mode': 'hint', 'show_max': 0.3},
        {'select': {'type': 'GumbelSelector', 'temperature': 0.1}},
    )

    def __init__(self, mode: str | None = None, ratio: RatioLike = (0.3, 0.2),
                 apply_prob: float = 0.5, *, show_max: float = 0.1,
                 show_ratio: float | None = None, layer: int = -1,
                 select: Selector | Mapping[str, Any] | None = None) -> None:
        if select is None:
            select = self._selector(mode or 'high', show_max, show_ratio)
        elif mode is not None:
            raise ConfigError(
                f'mode={mode!r} and select={select!r} exclude each other')
        super().__init__(ratio, select=select, apply_prob=apply_prob)
        self.layer = layer
        self.needs = Needs(cls_rows=(layer,))

    @staticmethod
    def _selector(mode: str, show_max: float, show_ratio: float | None
                  ) -> Selector:
        check_choice('mode', mode, MODES)
        if mode == 'hint':
            return HintSelector(show_max, show_ratio)
        return TopSelector() if mode == 'high' else BottomSelector()

    def scores(self, context: MaskContext) -> torch.Tensor:
        return fuse_heads(context.cls_rows(self.layer))
