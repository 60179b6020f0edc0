"""Vision transformer that also looks at the neighbours of an image."""
from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mimplug.errors import ConfigError
from mimplug.masking.needs import absolute_layer
from mimplug.registry import MODELS

from .depth import DepthDraws
from .masked_vit import MaskedViT


class RawTokens(NamedTuple):
    """What the last block returns, before the final norm.

    Args:
        tokens (Tensor): (M, 1 + L, D), CLS first.
        grid (tuple[int, int]): Patch grid (Hp, Wp), before ``keep_ids``.
        attention (Mapping): As in :class:`~mimplug.models.Encoded`.
    """
    tokens: Tensor
    grid: tuple[int, int]
    attention: Mapping[int, Tensor]


@MODELS.register_module()
class LocalGroupViT(MaskedViT):
    r"""Masked ViT with the local-group transformer of Mugs.

    .. math::
        q = \tfrac{1}{1 + L} \sum_{i=0}^{L} z_i, \quad
        g = LN\left(R([q;\, n_1 \dots n_k])_0\right)

    with z the tokens of the last block, CLS included, n the rows of a memory
    nearest to q (constants), R one or more transformer blocks of the
    backbone's shape without position embedding, and LN the backbone's own
    final norm. What goes into a memory is another mean, that of the *normed*
    *patch* tokens (:meth:`patch_mean`); the paper's figure has one for both,
    the release has these two.

    Where to look is the algorithm's business; evaluation uses the stock
    ``forward``, which does not know of groups.

    Args:
        *args: Arguments of :class:`MaskedViT`.
        num_relation_blocks (int): Blocks of R, each like the first block of
            the backbone, without stochastic depth; 0: none, this is then an
            ordinary :class:`MaskedViT`. Defaults to 1.
        **kwargs: Arguments of :class:`MaskedViT`. Features are CLS tokens, so
            ``out_type='avg_featmap'`` is refused.

    Raises:
        ConfigError: A value out of range.

    Source: ``VisionTransformer.forward`` of sail-sg/mugs
    ``src/vision_transformer.py`` (arXiv 2203.14415).
    """

    def __init__(self, *args: Any, num_relation_blocks: int = 1,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if num_relation_blocks < 0:
            raise ConfigError(
                f'num_relation_blocks={num_relation_blocks}: allowed is >= 0')
        if self.out_type == 'avg_featmap':
            raise ConfigError(
                "out_type='avg_featmap': the local-group transformer shares "
                'the final norm of the CLS token; use another out_type')
        # copies of a layer as it was built: init_weights draws them anew
        self.relation_blocks = nn.ModuleList(
            copy.deepcopy(self.layers[0]) for _ in range(num_relation_blocks))

    def raw_tokens(self, images: Tensor, *, hidden: Tensor | None = None,
                   keep_ids: Tensor | None = None,
                   cls_rows: Sequence[int] = (), full: Sequence[int] = (),
                   drop_path: DepthDraws = None) -> RawTokens:
        """Runs the blocks; arguments as in :meth:`MaskedViT.encode`.

        Args:
            images (Tensor): (M, C, H, W), normalised; any size.
            hidden (Tensor, optional): Bool (M, L) or (M, 1, Hp, Wp).
            keep_ids (Tensor, optional): int64 (M, Lk).
            cls_rows (Sequence[int]): Layers whose CLS attention is returned.
            full (Sequence[int]): Layers whose attention matrix is returned.
            drop_path (Tensor | ndarray, optional): Draws (M, num_layers, 2).

        Returns:
            RawTokens: Tokens before the final norm, grid and attention.
        """
        want = {absolute_layer(i, self.num_layers): 'cls' for i in cls_rows}
        want.update({absolute_layer(i, self.num_layers): 'full' for i in full})
        x, grid = self.embed(images, hidden, keep_ids)
        depth = self.block_depths(x, drop_path)
        attention = {}
        for i in range(self.num_layers):
            x, weights = self.run_layer(i, x, depth[i], want.get(i))
            if weights is not None:
                attention[i] = weights
        return RawTokens(x, grid, attention)

    def patch_mean(self, tokens: Tensor) -> Tensor:
        """Mean of the normed patch tokens: what a memory stores.

        Args:
            tokens (Tensor): (M, 1 + L, D) of :meth:`raw_tokens`.

        Returns:
            Tensor: (M, D).
        """
        mean: Tensor = self.final_norm_of(tokens[:, 1:]).mean(1)
        return mean

    def relate(self, query: Tensor, neighbours: Tensor) -> Tensor:
        """Local-group features.

        Without a memory the release gives it an image's own tokens, CLS in
        the place of the query and the patches as neighbours.

        Args:
            query (Tensor): q, (M, D).
            neighbours (Tensor): n, (M, k, D), k >= 1.

        Returns:
            Tensor: g, (M, D).

        Raises:
            ConfigError: There are no relation blocks.
        """
        if not self.relation_blocks:
            raise ConfigError('num_relation_blocks=0: nothing to relate with')
        x = torch.cat((query.unsqueeze(1), neighbours), dim=1)
        *inner, last = self.relation_blocks
        for block in inner:
            x = block(x)[0]
        # of the last block only the first token is looked at
        group: Tensor = self.final_norm_of(last(x, None, None, True)[0])
        return group
