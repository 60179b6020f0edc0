"""Attention rollout: products of attention matrices, CLS row only."""
from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

from mimplug.errors import ConfigError, check_choice, check_range
from mimplug.masking.context import MaskContext
from mimplug.masking.needs import LayerSpan, Needs
from mimplug.masking.scores.base import Score, single_precision
from mimplug.registry import TASK_UTILS

ORDERS = ('standard', 'reversed')
FUSIONS = ('mean', 'max', 'min')

THIRD = Fraction(1, 3)


class Preset(NamedTuple):
    """A named range of layers, and how they are multiplied."""
    start: int | Fraction
    end: int | Fraction
    order: str
    normalise: bool


# The thesis' thirds of 12 layers, for any depth. `_ref` are the released
# layers and orders, literally: the last four are multiplied one way by
# choose_mask.py, the other way by multi_choose_mask.py and for the pairs.
PRESETS = MappingProxyType({
    'all': Preset(Fraction(0), Fraction(1), 'standard', True),
    'last': Preset(2 * THIRD, Fraction(1), 'standard', True),
    'mid': Preset(THIRD, 2 * THIRD, 'standard', True),
    'all_ref': Preset(0, 11, 'reversed', False),
    'last_ref_choose': Preset(8, 11, 'reversed', False),
    'last_ref_multi': Preset(8, 11, 'standard', False),
    'mid_ref': Preset(4, 7, 'reversed', False),
})


def roll_out(attention: Sequence[torch.Tensor], *, residual: float = 1.0,
             normalise: bool = True, head_fusion: str = 'mean',
             discard_ratio: float = 0.0) -> torch.Tensor:
    r"""Row 0 of a product of attention matrices with residual.

    .. math:: e_0^T \tilde A_1 \tilde A_2 \cdots \tilde A_n, \quad
        \tilde A = D^{-1} (fuse_h A + \rho I)

    from left to right with vectors: a factor costs one pass over its
    matrices, and no product of two matrices is ever taken. The mean over
    heads is part of that pass.

    Args:
        attention (Sequence[Tensor]): The factors in the order of the
            product, (M, H, T, T), or (M, 1, T, T) if fused before. Of the
            first one CLS rows (M, H, T) are enough unless something is
            discarded. Softmaxed: rows sum to 1.
        residual (float): :math:`\rho` >= 0. Defaults to 1.
        normalise (bool): Rows of each factor sum to 1 (D); else D = 1.
            Defaults to True.
        head_fusion (str): 'mean', 'max' or 'min'. Defaults to 'mean'.
        discard_ratio (float): Share of the smallest entries of each fused
            matrix that becomes 0 before the residual is added, in [0, 1).
            Defaults to 0.

    Returns:
        Tensor: (M, T), float32 or better, CLS column first.
    """
    first = single_precision(attention[0])
    with torch.autocast(first.device.type, enabled=False):
        row = first.new_zeros(len(first), first.shape[-1])
        row[:, 0] = 1
        for matrix in attention:
            row = _times(row, single_precision(matrix), residual, normalise,
                         head_fusion, discard_ratio)
    return row


def _times(row: torch.Tensor, matrix: torch.Tensor, residual: float,
           normalise: bool, head_fusion: str, discard_ratio: float
           ) -> torch.Tensor:
    """row (M, T) times one factor, of which the first Q rows are given."""
    if matrix.ndim == 3:
        # The rest of row 0 of the identity is zero: one row is enough.
        matrix = matrix.unsqueeze(2)
    queries = matrix.shape[2]
    row = row[:, :queries]
    # Rows of a softmax sum to 1, and so do those of their mean.
    sums: torch.Tensor | float = 1.0
    if head_fusion != 'mean' or discard_ratio:
        matrix = _fuse(matrix, head_fusion)[:, None]
        if discard_ratio:
            matrix = _discard(matrix, discard_ratio)
        sums = matrix.sum(3)[:, 0].clamp(min=1e-30)
    if normalise:
        row = row / (sums + residual)
    heads = matrix.shape[1]
    # The rows of all heads in one long product: their mean on the way.
    product = torch.bmm((row / heads).repeat(1, heads)[:, None],
                        matrix.flatten(1, 2))[:, 0]
    product[:, :queries] += residual * row
    return product


def _fuse(matrix: torch.Tensor, head_fusion: str) -> torch.Tensor:
    """Heads (M, H, Q, T) to one matrix (M, Q, T)."""
    if head_fusion == 'mean':
        return matrix.mean(1)
    return matrix.amax(1) if head_fusion == 'max' else matrix.amin(1)


def _discard(matrix: torch.Tensor, ratio: float) -> torch.Tensor:
    """Zeroes the smallest entries of (M, 1, T, T), never the first one."""
    flat = matrix.flatten(1)
    count = int(flat.shape[1] * ratio)
    smallest = flat.argsort(dim=1, stable=True)[:, :count]
    kept = flat.scatter(1, smallest, 0.0)
    kept[:, 0] = flat[:, 0]
    return kept.view_as(matrix)


@TASK_UTILS.register_module()
class RolloutScore(Score):
    r"""Attention rollout of a range of layers.

    .. math:: s = e_0^T \tilde A_n \cdots \tilde A_m, \quad
        \tilde A_l = D^{-1} (fuse_h A_l + \rho I)

    without the CLS column: how much of each patch has reached the CLS token
    through the layers m to n ('standard' order: later layers on the left;
    'reversed' turns the product round, as most released variants do). Only
    this row of the product is computed, see :func:`roll_out`; of the
    leftmost layer the teacher gives the CLS row, of the others the whole
    attention, for 'mean' averaged over the heads before it is kept.

    ===================  ====================  =========  ==========
    preset               layers                order      normalise
    ===================  ====================  =========  ==========
    'all'                all                   standard   True
    'last'               last third            standard   True
    'mid'                middle third          standard   True
    'all_ref'            0 to 11               reversed   False
    'last_ref_choose'    8 to 11               reversed   False
    'last_ref_multi'     8 to 11               standard   False
    'mid_ref'            4 to 7                reversed   False
    ===================  ====================  =========  ==========

    Args:
        preset (str): Range, order and normalisation that the next arguments
            change one by one. Defaults to 'all'.
        start (int, optional): m, first layer; negative ones count from the
            end.
        end (int, optional): n, last layer, included.
        order (str, optional): 'standard' or 'reversed'.
        normalise (bool, optional): Whether the rows of each factor sum to 1;
            without effect on the ranking for 'mean' and no discarding.
        residual (float): :math:`\rho` >= 0, weight of the identity beside
            the attention. Defaults to 1.
        head_fusion (str): 'mean', 'max' or 'min' over heads. Defaults to
            'mean'.
        discard_ratio (float): Share of the smallest entries of each fused
            matrix that is set to 0 first (never the CLS token's attention to
            itself), in [0, 1). Defaults to 0.

    Raises:
        ConfigError: If a name is unknown or a number out of range.

    Source: Abnar and Zuidema, "Quantifying attention flow in transformers",
    ACL 2020 (arXiv 2005.00928), section 3, with :math:`\rho = 1`; head fusion
    and discarding from jacobgil/vit-explain; ranges and ``_ref`` presets
    from ``util/masking/`` of DimitrisReppas/MIM_on_self-supervision.
    """

    def __init__(self, preset: str = 'all', *, start: int | None = None,
                 end: int | None = None, order: str | None = None,
                 normalise: bool | None = None, residual: float = 1.0,
                 head_fusion: str = 'mean', discard_ratio: float = 0.0
                 ) -> None:
        check_choice('preset', preset, PRESETS)
        for name, layer in (('start', start), ('end', end)):
            if layer is not None and type(layer) is not int:
                raise ConfigError(f'{name}={layer!r}: must be an integer')
        first, last, direction, scaled = PRESETS[preset]
        self.order = direction if order is None else order
        check_choice('order', self.order, ORDERS)
        check_range('residual', residual, 0.0, 1e6)
        check_choice('head_fusion', head_fusion, FUSIONS)
        # Just below 1: something must be left.
        check_range('discard_ratio', discard_ratio, 0.0, 1.0 - 1e-6)
        self.options: dict[str, Any] = dict(
            residual=residual, head_fusion=head_fusion,
            normalise=scaled if normalise is None else normalise,
            discard_ratio=discard_ratio)
        leftmost = 'end' if self.order == 'standard' else 'start'
        self.span = LayerSpan(
            first if start is None else start, last if end is None else end,
            None if discard_ratio else leftmost, head_fusion == 'mean')
        self.needs = Needs(spans=(self.span,))

    def __call__(self, context: MaskContext) -> torch.Tensor:
        layers = list(self.span.layers(context.depth()))
        if self.order == 'standard':
            layers.reverse()
        factors = [context.full_attention(layer) for layer in layers[1:]]
        leftmost = context.cls_tokens(layers[0])
        if self.options['discard_ratio']:
            leftmost = context.full_attention(layers[0])
        return roll_out([leftmost, *factors], **self.options)[:, 1:]
