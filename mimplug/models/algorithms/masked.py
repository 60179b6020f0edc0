"""What algorithms share whose student sees masked views."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models.utils import MultiheadAttention
from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn

from mimplug.errors import ConfigError
from mimplug.masking import (
    Mask,
    MaskContext,
    MaskGenerator,
    Needs,
    build_generator,
)

from ..backbones import Encoded
from .base import KeyedSelfSupervisor


def check_generator(generator: MaskGenerator, backbone: nn.Module) -> Needs:
    """Whether a student with this backbone can work with the masks.

    Args:
        generator (MaskGenerator): Any.
        backbone (MaskedViT): The student's.

    Returns:
        Needs: What the generator looks at, by absolute layer index.

    Raises:
        ConfigError: Grid, layers, or a kind of mask that does not fit.
    """
    name = type(generator).__name__
    if getattr(backbone, 'mask_token', None) is None:
        raise ConfigError(
            f'backbone {type(backbone).__name__}: masks need '
            'mimplug.MaskedViT with_mask_token=True')
    if generator.needs.saliency:
        raise ConfigError(
            f'{name} needs saliency maps, which this algorithm does not '
            'compute')
    if generator.channels != 1 or generator.drops:
        raise ConfigError(
            f'{name} makes masks with channels={generator.channels}, '
            f'drops={generator.drops}; allowed is channels=1, drops=False')
    num_layers = int(backbone.num_layers)  # type: ignore[arg-type]
    generator.check(
        tuple(backbone.patch_resolution),  # type: ignore[arg-type]
        num_layers)
    return generator.needs.resolve(num_layers)


class MaskedDistillation(KeyedSelfSupervisor):
    """Teacher on full views, student on the same views with hidden patches.

    Args:
        backbone (dict): ``mimplug.MaskedViT`` with a mask token.
        mask_generator (dict | MaskGenerator): Any generator of
            :mod:`mimplug.masking`.
        num_globals (int): G, leading views that the teacher sees.
            Defaults to 2.
        **kwargs: Arguments of :class:`KeyedSelfSupervisor`.

    Raises:
        ConfigError: Generator and backbone do not fit together.
    """

    def __init__(self, backbone: dict,
                 mask_generator: dict | MaskGenerator, *,
                 num_globals: int = 2, **kwargs: Any) -> None:
        super().__init__(backbone=backbone, **kwargs)
        if num_globals < 1:
            raise ConfigError(f'num_globals={num_globals}: must be >= 1')
        self.num_globals = num_globals
        self.mask_generator = build_generator(mask_generator)
        self.needs = check_generator(self.mask_generator, self.backbone)

    def build_teacher_backbone(self, backbone: dict) -> nn.Module:
        """The student's without mask token, dropout and stochastic depth."""
        backbone = copy.deepcopy(backbone)
        backbone.pop('init_cfg', None)
        backbone.update(with_mask_token=False, drop_path_rate=0.0)
        built: nn.Module = BUILD.build(backbone)
        # rates come as drop_rate and, layer by layer, in layer_cfgs
        for part in built.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
            elif isinstance(part, MultiheadAttention):
                part.attn_drop = 0.0
        return built

    def make_mask(self, images: Tensor, teacher: Encoded,
                  data_samples: Sequence | None,
                  num_views: int | None = None) -> Mask:
        """Asks the generator for the masks of the global views.

        Args:
            images (Tensor): (V * B, 3, H, W), view-major.
            teacher (Encoded): The teacher's view of them.
            data_samples (Sequence[DataSample], optional): B samples.
            num_views (int, optional): V. Defaults to G.

        Returns:
            Mask: (V * B, 1, Hp, Wp).
        """
        num_views = num_views or self.num_globals
        batch = images.shape[0] // num_views
        return self.mask_generator(MaskContext(
            grid=teacher.grid, batch_size=batch,
            draws=self.draws(data_samples, num_views, batch),
            num_views=num_views, progress=self.progress,
            device=images.device, attention=teacher.attention,
            num_layers=self.backbone.num_layers, features=teacher.patches,
            images=images))

    @torch.no_grad()
    def preview_masks(self, inputs: Sequence[Tensor],
                      data_samples: Sequence | None = None
                      ) -> dict[str, Tensor | None]:
        """Masks of the global views, for pictures.

        Args:
            inputs (Sequence[Tensor]): V views (B, 3, h_v, w_v), the global
                ones first; one is enough, as an evaluation pipeline gives.
            data_samples (Sequence[DataSample], optional): B samples.

        Returns:
            dict: ``images`` (M, 3, H, W), ``attention`` (M, Hp, Wp) of the
            teacher's last layer (heads averaged) and ``hidden``
            (M, Hp, Wp) bool, M = min(V, G) * B.
        """
        views = list(inputs[:self.num_globals])
        images = torch.cat(views)
        last = self.backbone.num_layers - 1
        rows = {last, *self.needs.cls_rows} - set(self.needs.full)
        teacher = self.teacher.backbone.encode(  # type: ignore[operator]
            images, full=self.needs.full, cls_rows=sorted(rows))
        mask = self.make_mask(images, teacher, data_samples, len(views))
        attention = teacher.attention[last]
        if attention.ndim == 4:
            attention = attention[:, :, 0]
        attention = attention[:, :, 1:].mean(1).unflatten(1, teacher.grid)
        return dict(images=images, attention=attention,
                    hidden=mask.hidden[:, 0])
