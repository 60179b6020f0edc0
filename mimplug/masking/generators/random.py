"""Masks that ignore the image: random tokens, or none at all."""
from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from mimplug.masking.context import MaskContext
from mimplug.masking.generators.base import MaskGenerator, ScoreMask
from mimplug.masking.mask import Mask
from mimplug.masking.ratios import RatioLike, Ratios
from mimplug.masking.select import Counts
from mimplug.registry import TASK_UTILS


@TASK_UTILS.register_module()
class NoMask(MaskGenerator):
    """Hides nothing: the baseline without masks."""

    exact_count = True
    keyed = False

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        return 0, 0

    def __call__(self, context: MaskContext) -> Mask:
        return Mask.none(context.rows, context.grid, context.device)


@TASK_UTILS.register_module()
class RandomMask(ScoreMask):
    r"""Hides :math:`\lfloor r\, Hp\, Wp \rfloor` random tokens of each row.

    Args:
        ratio (RatioSampler | float | Sequence | dict): See
            :func:`mimplug.masking.build_ratio`.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Source: ``ImageFolderMask`` (``pred_shape='rand'``) in ``loader.py`` of
    gkakogeorgiou/attmask; MAE (He et al., CVPR 2022), section 3.
    """

    provenance = 'code'
    examples: ClassVar = (
        {'ratio': 0.3}, {'ratio': (0.3, 0.2), 'apply_prob': 0.5})

    def __init__(self, ratio: RatioLike, *, apply_prob: float = 1.0) -> None:
        super().__init__(ratio, apply_prob=apply_prob)

    def counts(self, ratios: Ratios, grid: tuple[int, int]) -> Counts:
        # The reference multiplies in this order, which can round otherwise.
        height, width = grid
        return (ratios * height * width).astype(np.int64)

    def scores(self, context: MaskContext) -> torch.Tensor:
        return context.draws.uniform(
            'random', context.length, device=context.device)

    def __call__(self, context: MaskContext) -> Mask:
        return Mask.cat(
            [super(RandomMask, self).__call__(part)
             for part in context.parts()])
