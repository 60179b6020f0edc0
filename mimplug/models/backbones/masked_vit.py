"""Vision transformer that can hide, drop and tell where it looks."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmpretrain.models.backbones.vision_transformer import VisionTransformer
from mmpretrain.models.utils import resize_pos_embed
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mimplug.errors import ConfigError, check_range
from mimplug.masking.needs import absolute_layer
from mimplug.registry import MODELS

from .block import BlockOutput
from .depth import BlockDepth, DepthDraws, depth_of_blocks
from .encoded import Encoded
from .masked_block import MaskedBlock
from .pos_embed import resize_pos_embed_by_scale


@MODELS.register_module()
class MaskedViT(VisionTransformer):
    r"""MMPretrain's ViT with mask token, attention on demand and token drop.

    Hidden patch embeddings are replaced by the learned mask token **before**
    the position embedding is added:

    .. math::
        z_0 = [cls;\; (1 - m) \odot E(x) + m \odot t_{mask}] + pos

    All parameters but ``mask_token`` carry MMPretrain's names. ``forward``
    keeps the stock contract; :meth:`encode` is the rich one.

    Args:
        arch (str | dict): As ``VisionTransformer``; the papers' ViT-S is
            ``'deit-small'``. Defaults to ``'deit-small'``.
        img_size (int | tuple): Usual image size in pixels; others work too.
        patch_size (int): Patch size in pixels.
        in_channels (int): Image channels. Defaults to 3.
        drop_path_rate (float): Stochastic depth of the last block, rising
            linearly from 0, in [0, 1). Defaults to 0.
        skip_dropped (bool, optional): Run a branch on the rows it keeps only:
            saves half of ``drop_path_rate`` of the work, costs copies of
            rows, gives the same numbers. None: on the CPU; a GPU is faster at
            products than at copies, and ``mimplug.CompileHook`` says False.
        with_mask_token (bool): Own a mask token (1, D), initialised to zeros;
            a student has one, a teacher has not. Defaults to True.
        interpolate_offset (float, optional): Resize the position embedding as
            DINO/iBOT do, with this offset (0.1) in patches. None:
            MMPretrain's exact target size. Defaults to None.
        with_cp (bool): Recompute block activations in the backward pass.
            Defaults to False.
        **kwargs: The other arguments of ``VisionTransformer`` (``out_type``,
            ``out_indices``, ``final_norm``, ``layer_scale_init_value``,
            ``init_cfg``, …). ``out_type='avg_featmap'`` with
            ``final_norm=False`` is the reference's mean pooling.

    Raises:
        ConfigError: A rate out of range, no class token, or ``layer_cfgs``
            with another MLP or drop path.

    Source: ``models/vision_transformer.py`` of gkakogeorgiou/attmask (ECCV
    2022). Weights start as there: truncated normal 0.02 for linear layers,
    positions and CLS, zero biases, PyTorch's default for the convolution.
    """

    def __init__(self,
                 arch: str | dict = 'deit-small',
                 img_size: int | tuple[int, int] = 224,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 *,
                 drop_path_rate: float = 0.0,
                 skip_dropped: bool | None = None,
                 with_mask_token: bool = True,
                 interpolate_offset: float | None = None,
                 with_cp: bool = False,
                 **kwargs: Any) -> None:
        if not kwargs.get('with_cls_token', True):
            raise ConfigError('with_cls_token=False: MaskedViT needs one')
        check_range('drop_path_rate', drop_path_rate, 0.0, 1.0 - 1e-6)
        # Drop path 0 in the stock layers: ours takes its draws from outside
        super().__init__(arch=arch, img_size=img_size, patch_size=patch_size,
                         in_channels=in_channels, drop_path_rate=0.0, **kwargs)
        self._check_layers()
        self.patch_size = patch_size
        self.skip_dropped = skip_dropped
        self.with_cp = with_cp
        self.interpolate_offset = interpolate_offset
        self.drop_path_rates: list[float] = np.linspace(
            0, drop_path_rate, self.num_layers).tolist()
        self.mask_token = nn.Parameter(
            torch.zeros(1, self.embed_dims)) if with_mask_token else None

    def _check_layers(self) -> None:
        """Takes over the layers; refuses what our forward would not do."""
        for layer in self.layers:
            drop_path = layer.attn.out_drop.drop_prob
            if not hasattr(layer.ffn, 'layers') or drop_path:
                raise ConfigError(
                    "layer_cfgs: only ffn_type='origin', and drop_path_rate "
                    'belongs to the backbone')
            MaskedBlock.adopt(layer)

    def init_weights(self) -> None:
        """Draws the reference's initial weights, then runs ``init_cfg``."""
        if self.is_init:
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            if isinstance(module, BaseModule) and module is not self:
                module._is_init = True
        trunc_normal_(self.pos_embed, std=0.02)
        trunc_normal_(self.cls_token, std=0.02)
        BaseModule.init_weights(self)

    def train(self, mode: bool = True) -> MaskedViT:
        """As in torch, returns the module; the stock class returns None."""
        super().train(mode)
        return self

    def embed(self, images: Tensor, hidden: Tensor | None = None,
              keep_ids: Tensor | None = None
              ) -> tuple[Tensor, tuple[int, int]]:
        """Patch embedding, masking, CLS and position embedding.

        Args:
            images (Tensor): (M, C, H, W), normalised.
            hidden (Tensor, optional): Bool (M, L) or (M, 1, Hp, Wp), True =
                replaced by the mask token.
            keep_ids (Tensor, optional): int64 (M, Lk), patches that are kept.

        Returns:
            tuple: tokens (M, 1 + L, D) or (M, 1 + Lk, D), and the patch grid.

        Raises:
            ValueError: The mask does not fit the patch grid, or the backbone
                has no mask token.
        """
        x, grid = self.patch_embed(images)
        if hidden is not None:
            x = self._hide(x, hidden, grid)
        pos = self._position(grid)
        patches = x + pos[:, 1:]
        if keep_ids is not None:
            index = keep_ids.unsqueeze(-1).expand(-1, -1, x.shape[-1])
            patches = patches.gather(1, index)
        cls = (self.cls_token + pos[:, :1]).expand(x.shape[0], -1, -1)
        tokens = torch.cat((cls.to(patches.dtype), patches), dim=1)
        return self.pre_norm(self.drop_after_pos(tokens)), tuple(grid)

    def _hide(self, x: Tensor, hidden: Tensor,
              grid: tuple[int, int]) -> Tensor:
        """Mask token in place of the hidden patch embeddings."""
        if self.mask_token is None:
            raise ValueError('hidden given, but with_mask_token=False')
        hidden = hidden.flatten(1)
        if hidden.shape != x.shape[:2]:
            raise ValueError(
                f'mask of shape {tuple(hidden.shape)} for {x.shape[0]} images '
                f'with a patch grid of {tuple(grid)}')
        token = self.mask_token.to(x.dtype)
        return torch.where(hidden.unsqueeze(-1), token, x)

    def _position(self, grid: tuple[int, int]) -> Tensor:
        """Position embedding (1, 1 + L, D) for a patch grid."""
        if self.interpolate_offset is not None:
            return resize_pos_embed_by_scale(
                self.pos_embed, self.patch_resolution, grid,
                offset=self.interpolate_offset)
        pos: Tensor = resize_pos_embed(
            self.pos_embed, self.patch_resolution, grid,
            mode=self.interpolate_mode, num_extra_tokens=1)
        return pos

    def encode(self,
               images: Tensor,
               *,
               hidden: Tensor | None = None,
               keep_ids: Tensor | None = None,
               cls_rows: Sequence[int] = (),
               full: Sequence[int] = (),
               head_mean: Sequence[int] = (),
               intermediates: Sequence[int] = (),
               drop_path: DepthDraws = None) -> Encoded:
        """Runs the network and returns everything asked for.

        Args:
            images (Tensor): (M, C, H, W), normalised; any size.
            hidden (Tensor, optional): Bool (M, L) or (M, 1, Hp, Wp).
            keep_ids (Tensor, optional): int64 (M, Lk): only these patches
                enter the blocks.
            cls_rows (Sequence[int]): Layers (negative from the end) whose CLS
                attention row (M, H, 1 + L) is returned, at little cost.
            full (Sequence[int]): Layers whose attention matrix is returned.
            head_mean (Sequence[int]): The same, averaged over the heads.
            intermediates (Sequence[int]): Layers whose normed output, too.
            drop_path (Tensor | ndarray, optional): Uniform draws
                (M, num_layers, 2) in [0, 1) for stochastic depth; only of an
                ndarray, known to the host, dropped rows can be skipped.
                None while training: PyTorch's global generator.

        Returns:
            Encoded: Tokens, grid, attention and intermediates.

        Raises:
            ConfigError: A layer index that does not exist.
            ValueError: A mask that does not fit.
        """
        count = self.num_layers
        want = {absolute_layer(i, count): 'cls' for i in cls_rows}
        want.update({absolute_layer(i, count): 'full' for i in full})
        want.update({absolute_layer(i, count): 'mean' for i in head_mean})
        keep = {absolute_layer(i, count) for i in intermediates}
        x, grid = self.embed(images, hidden, keep_ids)
        depth = self.block_depths(x, drop_path)
        attention, outputs = {}, {}
        for i in range(count):
            x, weights = self.run_layer(i, x, depth[i], want.get(i))
            if weights is not None:
                attention[i] = weights
            if i in keep:
                outputs[i] = self.final_norm_of(x)
        return Encoded(self._pool(self.final_norm_of(x)), grid, attention,
                       outputs)

    def run_blocks(self, x: Tensor, depth: Sequence[BlockDepth], *,
                   start: int = 0, stop: int | None = None) -> Tensor:
        """Blocks ``start`` to ``stop - 1``: tokens (M, T, D) to the same.

        ``depth`` is that of all blocks, from :meth:`block_depths`.
        """
        for i in range(self.num_layers)[start:stop]:
            x = self.run_layer(i, x, depth[i])[0]
        return x

    def run_layer(self, layer: int, x: Tensor, *args: Any) -> BlockOutput:
        """One block, recomputed in the backward pass with ``with_cp``.

        ``args`` are those of :meth:`MaskedBlock.forward` after ``x``.
        """
        block = self.layers[layer]
        if self.with_cp and self.training and torch.is_grad_enabled():
            block = partial(checkpoint, block, use_reentrant=False)
        return BlockOutput(*block(x, *args))

    def block_depths(self, x: Tensor,
                     uniform: DepthDraws) -> list[BlockDepth]:
        """Depth of each block for x (M, T, D); draws as in :meth:`encode`."""
        if not self.training or self.drop_path_rates[-1] == 0:
            return [None] * self.num_layers
        return depth_of_blocks(x, uniform, self.drop_path_rates,
                               skip=self.skips_on(x.device))

    def skips_on(self, device: torch.device) -> bool:
        """Whether dropped rows are left out there, by ``skip_dropped``."""
        skip = self.skip_dropped
        return device.type == 'cpu' if skip is None else skip

    def final_norm_of(self, x: Tensor) -> Tensor:
        """Final norm of tokens (…, D), or the tokens without one."""
        return self.ln1(x) if self.final_norm else x

    def _pool(self, x: Tensor) -> Tensor:
        """Puts the normed patch mean into row 0 for ``avg_featmap``."""
        if self.out_type != 'avg_featmap':
            return x
        mean = self.ln2(x[:, 1:].mean(dim=1, keepdim=True))
        return torch.cat((mean, x[:, 1:]), dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Stock contract of ``VisionTransformer``.

        Args:
            x (Tensor): (B, C, H, W), normalised.

        Returns:
            tuple[Tensor]: One output per ``out_indices``, shaped by
            ``out_type``; as in the stock class only the last is normed.
        """
        x, grid = self.embed(x)
        depth = self.block_depths(x, None)
        outs = []
        for i in range(self.num_layers):
            x = self.run_layer(i, x, depth[i])[0]
            if i == self.num_layers - 1:
                x = self.final_norm_of(x)
            if i in self.out_indices:
                outs.append(self._format_output(x, grid))
        return tuple(outs)
