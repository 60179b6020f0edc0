"""Masks of the patches that are hard to predict (HPM)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from mimplug.errors import ConfigError
from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import ScoreMask
from mimplug.masking.needs import Needs
from mimplug.masking.ratios import RatioLike
from mimplug.masking.select import Selector
from mimplug.masking.selectors import EasyToHardSelector
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class HardPatchMask(ScoreMask):
    r"""HPM: hides patches whose loss is expected to be large.

    The score is the difficulty that a small head of the algorithm
    (:class:`mimplug.models.heads.PatchDifficulty`) predicts from the
    teacher's patch tokens. Of k hidden patches a share that grows with the
    epochs is taken by score, the others at random. Draws: 'apply', 'easy',
    'ratio'.

    Args:
        ratio (RatioSampler | float | Sequence | dict): Defaults to the
            published 0.75.
        max_share (float, optional): Share taken by score in the last epoch,
            in [0, 1]. Defaults to the published 0.5.
        select (Selector | dict, optional): Another rule than
            :class:`~mimplug.masking.selectors.EasyToHardSelector`;
            ``max_share`` must then be left out.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a number is out of range.

    Provenance: code for the rule; the score is our adaptation. Source: Wang
    et al., HPM, CVPR 2023 (arXiv 2304.05919), Haochen-Wang409/HPM.
    """

    provenance = 'code'
    needs = Needs(difficulty=True)
    examples: ClassVar = (
        {'ratio': 0.5}, {'ratio': (0.5, 0.2), 'max_share': 0.9,
                         'apply_prob': 0.5},
        {'ratio': 0.5, 'select': {'type': 'GumbelSelector'}})

    def __init__(self, ratio: RatioLike = 0.75, *,
                 max_share: float | None = None,
                 select: Selector | Mapping[str, Any] | None = None,
                 apply_prob: float = 1.0) -> None:
        if select is None:
            select = EasyToHardSelector(
                0.5 if max_share is None else max_share)
        elif max_share is not None:
            raise ConfigError(
                f'max_share={max_share} and select={select!r} exclude each '
                'other')
        super().__init__(ratio, select=select, apply_prob=apply_prob)

    def scores(self, context: MaskContext) -> torch.Tensor:
        return context.require('difficulty')
