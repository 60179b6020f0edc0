"""MAE's encoder for masks that come from outside."""
from __future__ import annotations

from typing import Any

import torch
from mmpretrain.models.backbones.vision_transformer import VisionTransformer
from mmpretrain.models.selfsup.mae import MAEViT as StockMAEViT
from torch import Tensor

from mimplug.masking import Mask
from mimplug.registry import MODELS


@MODELS.register_module()
class MAEViT(StockMAEViT):
    """MMPretrain's ``MAEViT`` that is told what to hide.

    Parameters and numbers are the stock class's: for the mask that it would
    have drawn the features are the same, in another order of the patches.

    Args:
        **kwargs: Arguments of the stock class, but ``mask_ratio``.

    Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR
    2022; ``MAEViT`` of MMPretrain.
    """

    def train(self, mode: bool = True) -> MAEViT:
        """As in torch, returns the module; the stock class returns None."""
        super().train(mode)
        return self

    def forward(self, x: Tensor, mask: Mask | None = None) -> Any:
        """Encodes the patches that are neither hidden nor dropped.

        Args:
            x (Tensor): (B, C, H, W), normalised.
            mask (Mask, optional): (B, 1, Hp, Wp), with as many hidden patches
                in every row and the capacity of exactly these, and a known
                number of dropped ones. None: all patches are encoded and the
                contract is that of ``VisionTransformer``.

        Returns:
            tuple: Features (B, 1 + Lv, D) of CLS and the Lv visible patches
            in raster order, float mask (B, L) with 1 = hidden, and
            ``ids_restore`` (B, L) int64: where each patch stands in the
            sequence that begins with the visible ones.

        Raises:
            ValueError: The number of visible patches is not known.
        """
        if mask is None:
            return VisionTransformer.forward(self, x)
        order, visible = visible_first(mask)
        patches = self.patch_embed(x)[0] + self.pos_embed[:, 1:]
        index = order[:, :visible, None].expand(-1, -1, patches.shape[2])
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(
            len(x), -1, -1)
        tokens = torch.cat((cls, patches.gather(1, index)), dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        return self.ln1(tokens), mask.tokens.float(), order.argsort(1)


def visible_first(mask: Mask) -> tuple[Tensor, int]:
    """Orders the patches of each row, the visible ones first.

    Args:
        mask (Mask): (M, 1, Hp, Wp), as in :meth:`MAEViT.forward`.

    Returns:
        tuple[Tensor, int]: (M, L) int64, patches of either kind in raster
        order, and the number of visible ones.

    Raises:
        ValueError: The rows cannot hide the same number of patches, or the
            number of dropped ones is not known.
    """
    hidden, rest = divmod(mask.capacity, mask.batch)
    if rest or mask.num_dropped is None:
        raise ValueError(
            f'{mask.capacity} hidden and {mask.num_dropped} dropped patches '
            f'in {mask.batch} rows: every row must hide and drop the same '
            'number')
    gone = mask.tokens
    if mask.dropped is not None:
        gone = gone | mask.dropped.flatten(1)
    order = torch.sort(gone.to(torch.uint8), dim=1, stable=True).indices
    return order, gone.shape[1] - hidden - mask.num_dropped
