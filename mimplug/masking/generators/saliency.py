"""Random cells of the salient foreground and of the rest, by their shares."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from mimplug.draws import to_device
from mimplug.errors import check_choice, check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.foreground import fit_saliency, scda_foreground
from mimplug.masking.generators.base import RatioMask
from mimplug.masking.mask import Mask
from mimplug.masking.needs import Needs
from mimplug.masking.ratios import RatioLike, Ratios, UniformRatio
from mimplug.masking.select import Counts, apply_probability
from mimplug.registry import TASK_UTILS

# Default ranges of the ratio: of the query, and of the hard negative.
MODES = {'balanced': (0.05, 0.25), 'foreground': (0.4, 0.7)}
# The released cap starts a little above the share that it cuts to.
CAP_MARGIN = 0.01


def _is_range(ratio: object) -> bool:
    """Whether a ratio is written as two numbers."""
    return (isinstance(ratio, (list, tuple)) and len(ratio) == 2
            and all(isinstance(end, (int, float)) for end in ratio))


@TASK_UTILS.register_module()
class SaliencyMask(RatioMask):
    r"""Hides the same share of foreground and background, or only objects.

    A cell is foreground where its saliency is not far below the mean of the
    image (:func:`scda_foreground`). With a ratio r for each row and F
    foreground cells of L

    .. math:: n_f = round(r F), \quad
        n_b = \max(\lfloor r L \rfloor - n_f, 0)

    random cells of the foreground and of the rest are hidden; in the mode
    'foreground' :math:`n_b = 0`. Halves are rounded to even numbers. Draws:
    'apply', 'ratio', 'saliency/cell' (L numbers; the smallest of a set are
    hidden) or 'saliency/channel' (3 x L).

    Args:
        ratio (Sequence[float] | RatioSampler | float | dict, optional): Two
            numbers are the ends of the range that each row draws r from;
            all else as in :func:`mimplug.masking.build_ratio`. Defaults to
            the published (0.05, 0.25), or (0.4, 0.7) in the mode
            'foreground'.
        mode (str): 'balanced', as the query is masked, or 'foreground', as
            the hard negative. Defaults to 'balanced'.
        guided (bool): False: all cells count as foreground, which is a
            random mask without a look at the image. Defaults to True.
        channelwise (bool): Other cells for each colour channel, with the
            same numbers. Defaults to False.
        cap (float, optional): Where r F / L reaches ``cap`` + 0.01,
            :math:`n_f = round(cap\, L)`. The release has 0.55 in its
            high-pass variant. Defaults to none.
        num_stds (float): See :func:`scda_foreground`. Defaults to 0.6.
        keep_largest (bool): See :func:`scda_foreground`. Defaults to False.
        row_sort_compat (bool): The released defect of
            :func:`scda_foreground`. Defaults to False.
        list_compat (bool): As released: a negative :math:`n_b` hides all but
            :math:`|n_b|` cells of the background, and a set of exactly one
            cell stays visible. Defaults to False.
        apply_prob (float): Probability that a row is masked at all.
            Defaults to 1.

    Raises:
        ConfigError: If a setting is out of range.

    Provenance: code. Source: Chin et al., Masking Improves Contrastive
    Self-Supervised Learning for ConvNets, WACV 2024 (arXiv 2309.12757);
    ``Dataset/random_mask_{hp,blur,mean}.py`` of
    joycenerd/Saliency-Guided-Masking-for-ConvNets.
    """

    provenance = 'code'
    exact_count = False
    needs = Needs(saliency=True)
    examples: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {}, {'mode': 'foreground', 'cap': 0.55},
        {'channelwise': True, 'ratio': (0.2, 0.5)},
        {'guided': False, 'ratio': 0.3, 'apply_prob': 0.5},
        {'list_compat': True, 'row_sort_compat': True})
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {}, {'mode': 'foreground', 'cap': 0.55}, {'channelwise': True},
        {'guided': False, 'ratio': 0.3})

    def __init__(self, ratio: RatioLike | None = None, *,
                 mode: str = 'balanced', guided: bool = True,
                 channelwise: bool = False, cap: float | None = None,
                 num_stds: float = 0.6, keep_largest: bool = False,
                 row_sort_compat: bool = False, list_compat: bool = False,
                 apply_prob: float = 1.0) -> None:
        check_choice('mode', mode, MODES)
        check_range('num_stds', num_stds, -1e6, 1e6)
        if cap is not None:
            check_range('cap', cap, 0.0, 1.0)
        ratio = MODES[mode] if ratio is None else ratio
        if _is_range(ratio):
            low, high = ratio  # type: ignore[misc, union-attr]
            check_range('ratio[1]', high, 0.0, 1.0)
            check_range('ratio[0]', low, 0.0, high)
            ratio = UniformRatio((low + high) / 2, (high - low) / 2)
        super().__init__(ratio, apply_prob=apply_prob)
        self.mode, self.guided, self.cap = mode, guided, cap
        self.channels = 3 if channelwise else 1
        self.rule = dict(num_stds=num_stds, keep_largest=keep_largest,
                         row_sort_compat=row_sort_compat)
        self.list_compat = list_compat
        if not guided:
            self.needs = Needs()

    def limits(self, grid: tuple[int, int]) -> tuple[int, int]:
        most = self._most(np.array([self.ratio.bounds[1]]), grid)
        return 0, int(most[0])

    def _most(self, ratios: Ratios, grid: tuple[int, int]) -> Counts:
        """(M,) cells that rows of these ratios hide at most."""
        cells = grid[0] * grid[1]
        if self.list_compat and self.mode == 'balanced':
            return np.where(ratios > 0, cells * self.channels, 0).astype(
                np.int64)
        # never fewer than rounded down
        most: Counts = np.rint(ratios * cells).astype(np.int64)
        return most * self.channels

    def foreground(self, context: MaskContext) -> Tensor:
        """Returns (M, Hp, Wp) bool, True = foreground."""
        if not self.guided:
            return torch.ones(context.rows, *context.grid, dtype=torch.bool,
                              device=context.device)
        saliency = fit_saliency(context.require('saliency'), context.grid)
        return scda_foreground(saliency, **self.rule)  # type: ignore[arg-type]

    def numbers(self, ratios: Tensor, num_foreground: Tensor, length: int
                ) -> tuple[Tensor, Tensor]:
        """Returns how many cells of both sets are hidden.

        Args:
            ratios (Tensor): (M,) floats. The number of all cells is
                rounded down in their precision, as released (float32 but
                for the high-pass variant); all else is float64.
            num_foreground (Tensor): (M,) int64, F.
            length (int): L.

        Returns:
            tuple[Tensor, Tensor]: (M,) int64 of the foreground and of the
            background.
        """
        whole = (ratios * length).floor().long()
        ratios = ratios.double()
        hidden = (ratios * num_foreground).round()
        if self.cap is not None:
            reached = ratios * num_foreground / length >= round(
                self.cap + CAP_MARGIN, 12)
            hidden = hidden.masked_fill(
                reached, float(round(self.cap * length)))
        front = hidden.long()
        back = whole - front
        if self.mode == 'foreground':
            back = torch.zeros_like(back)
        return self._of_lists(front, back, num_foreground, length)

    def _of_lists(self, front: Tensor, back: Tensor, num_foreground: Tensor,
                  length: int) -> tuple[Tensor, Tensor]:
        """The numbers that the sets can give, or gave in the release."""
        num_background = length - num_foreground
        back = back.minimum(num_background)
        if not self.list_compat:
            return front, back.clamp(min=0)
        # a slice [:negative] leaves that many at the end
        back = torch.where(
            back < 0, (num_background + back).clamp(min=0), back)
        return (front.masked_fill(num_foreground == 1, 0),
                back.masked_fill(num_background == 1, 0))

    def __call__(self, context: MaskContext) -> Mask:
        device = torch.device(context.device)
        kept = apply_probability(context.draws, self.apply_prob)
        ratios = np.where(kept, self.ratio(context), 0.0)
        front = self.foreground(context).flatten(1)
        total = front.sum(1)
        hidden_front, hidden_back = self.numbers(
            to_device(ratios, device), total, context.length)
        name = 'cell' if self.channels == 1 else 'channel'
        chance = context.draws.uniform(
            f'saliency/{name}', self.channels, context.length, device=device)
        # foreground cells first, both sets shuffled
        order = torch.sort(
            chance - front[:, None].float(), dim=2, stable=True).indices
        place = torch.arange(context.length, device=device)
        ends = (hidden_front, total, total + hidden_back)
        first, start, last = (end[:, None, None] for end in ends)
        chosen = (place < first) | ((place >= start) & (place < last))
        chosen = chosen.expand(-1, self.channels, -1)
        hidden = torch.zeros_like(order, dtype=torch.bool).scatter_(
            2, order, chosen)
        return Mask(hidden.unflatten(2, context.grid),
                    capacity=int(self._most(ratios, context.grid).sum()))
