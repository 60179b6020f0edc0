"""What algorithms share whose student sees masked views."""
from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

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
    NoMask,
    build_generator,
)

from ..backbones import Encoded
from ..heads import PatchDifficulty
from ..losses import at_least_float32
from .base import KeyedSelfSupervisor


def check_generator(generator: MaskGenerator, backbone: nn.Module, *,
                    drops: bool = False) -> Needs:
    """Whether a student with this backbone can work with the masks.

    Args:
        generator (MaskGenerator): Any.
        backbone (MaskedViT): The student's.
        drops (bool): Whether the student can leave out the tokens that the
            mask drops. Defaults to False.

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
    if generator.channels != 1:
        raise ConfigError(
            f'{name} makes masks with channels={generator.channels}; allowed '
            'is channels=1')
    if generator.pixels:
        raise ConfigError(
            f'{name} hides pixels; the student of this algorithm wants masks '
            'of patches')
    if generator.drops and not drops:
        raise ConfigError(
            f'{name} drops tokens, which the student of this algorithm '
            'cannot leave out')
    num_layers = int(backbone.num_layers)  # type: ignore[arg-type]
    generator.check(
        tuple(backbone.patch_resolution),  # type: ignore[arg-type]
        num_layers)
    return generator.needs.resolve(num_layers)


class MaskedDistillation(KeyedSelfSupervisor):
    """Teacher on full views, student on the same views with hidden patches.

    Args:
        backbone (dict): ``mimplug.MaskedViT`` with a mask token.
        mask_generator (dict | MaskGenerator, optional): Any generator of
            :mod:`mimplug.masking`. None: nothing is ever hidden, and the
            backbone needs no mask token.
        num_globals (int): G, leading views that the teacher sees.
            Defaults to 2.
        patch_difficulty (dict, optional): Arguments of
            ``mimplug.PatchDifficulty``, for generators that hide what is
            hard.
        **kwargs: Arguments of :class:`KeyedSelfSupervisor`.

    Raises:
        ConfigError: Generator and backbone do not fit together.
    """

    # Does the student leave out the tokens that a mask drops?
    leaves_out: ClassVar[bool] = False

    def __init__(self, backbone: dict,
                 mask_generator: dict | MaskGenerator | None, *,
                 num_globals: int = 2,
                 patch_difficulty: dict | None = None,
                 **kwargs: Any) -> None:
        super().__init__(backbone=backbone, **kwargs)
        if num_globals < 1:
            raise ConfigError(f'num_globals={num_globals}: must be >= 1')
        self.num_globals = num_globals
        self.needs = Needs()
        self.mask_generator = build_generator(mask_generator or NoMask())
        if mask_generator is not None:
            self.needs = check_generator(
                self.mask_generator, self.backbone, drops=self.leaves_out)
        self.patch_difficulty = self._build_difficulty(patch_difficulty)
        views = getattr(self.mask_generator, 'num_views', None)
        if views not in (None, num_globals):
            raise ConfigError(
                f'{type(self.mask_generator).__name__} is made for {views} '
                f'views, but num_globals={num_globals}')

    def _build_difficulty(self, config: dict | None
                          ) -> PatchDifficulty | None:
        """The head that says what is hard, if the generator asks for it."""
        if (config is not None) != self.needs.difficulty:
            name = type(self.mask_generator).__name__
            raise ConfigError(
                f'{name} needs the difficulty of patches: give '
                'patch_difficulty=dict()' if config is None else
                f'patch_difficulty={config!r}: {name} does not look at it')
        if config is None:
            return None
        built: PatchDifficulty = BUILD.build({
            'type': 'mimplug.PatchDifficulty',
            'in_channels': self.backbone.embed_dims, **config})
        return built

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

    def make_mask(self, images: Tensor, teacher: Encoded | None,
                  data_samples: Sequence | None,
                  num_views: int | None = None) -> Mask:
        """Asks the generator for the masks of the global views.

        Args:
            images (Tensor): (V * B, 3, H, W), view-major.
            teacher (Encoded, optional): The teacher's view of them. None if
                the generator does not look at it.
            data_samples (Sequence[DataSample], optional): B samples.
            num_views (int, optional): V. Defaults to G.

        Returns:
            Mask: (V * B, 1, Hp, Wp).
        """
        return self.mask_generator(self.mask_context(
            images, teacher, data_samples, num_views or self.num_globals))

    def mask_context(self, images: Tensor, teacher: Encoded | None,
                     data_samples: Sequence | None,
                     num_views: int) -> MaskContext:
        """What generators and scores may look at; see :meth:`make_mask`."""
        batch = images.shape[0] // num_views
        height, width = images.shape[2:]
        patch = self.backbone.patch_size
        seen: dict[str, Any] = {} if teacher is None else dict(
            attention=teacher.attention, features=teacher.patches,
            difficulty=self.predict_difficulty(teacher))
        return MaskContext(
            grid=(height // patch, width // patch), batch_size=batch,
            draws=self.draws(data_samples, num_views, batch),
            num_views=num_views, progress=self.progress,
            device=images.device, num_layers=self.backbone.num_layers,
            images=images, **seen)

    @torch.no_grad()
    def predict_difficulty(self, teacher: Encoded) -> Tensor | None:
        """Expected loss (V * B, L) of the patches; None without a head."""
        if self.patch_difficulty is None:
            return None
        # In half precision equal values would be hidden in raster order.
        with torch.autocast(teacher.tokens.device.type, enabled=False):
            predicted: Tensor = self.patch_difficulty(
                at_least_float32(teacher.patches))
        return predicted

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
            teacher's last layer (heads averaged), ``hidden`` (M, Hp, Wp)
            bool and ``dropped``, the same or None, M = min(V, G) * B.
        """
        views = list(inputs[:self.num_globals])
        images = torch.cat(views)
        last = self.backbone.num_layers - 1
        rows = {last, *self.needs.cls_rows} - set(self.needs.full)
        teacher = self.teacher.backbone.encode(  # type: ignore[operator]
            images, full=self.needs.full, cls_rows=sorted(rows),
            head_mean=self.needs.head_mean)
        mask = self.make_mask(images, teacher, data_samples, len(views))
        attention = teacher.attention[last]
        if attention.ndim == 4:
            attention = attention[:, :, 0]
        attention = attention[:, :, 1:].mean(1).unflatten(1, teacher.grid)
        dropped = None if mask.dropped is None else mask.dropped[:, 0]
        return dict(images=images, attention=attention,
                    hidden=mask.hidden[:, 0], dropped=dropped)
