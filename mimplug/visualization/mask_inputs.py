"""What mask generators look at when nothing is being trained.

:class:`NetworkInputs` asks a network, :class:`StandInInputs` replaces it by
formulas on the image, so that every generator can be drawn without weights.
Both say in words what they gave.
"""
from __future__ import annotations

import abc
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimplug.draws import HashDraws, SampleKeys
from mimplug.masking import MaskContext, MaskGenerator, Needs
from mimplug.models.targets import spectral_residual
from mimplug.schedules import Progress

from .networks import backbone_of, normalised

EPOCHS = 100
STAND_IN_LAYERS, STAND_IN_HEADS = 12, 3
# Without it borders would count as salient.
TAPER = 0.25


@dataclass(frozen=True, eq=False)
class MaskInputs(abc.ABC):
    """Images, and what generators may ask about them.

    Args:
        images (Tensor): (B, 3, H, W) floats in [0, 1].
        grid (tuple[int, int]): (Hp, Wp) patches.
        seed (int): Of the draws. Defaults to 0.
        fraction (float): Share of the run that is done, in [0, 1], for
            generators that change with time. Defaults to 0.5.
    """
    images: Tensor
    grid: tuple[int, int]
    seed: int = 0
    fraction: float = 0.5

    @property
    @abc.abstractmethod
    def num_layers(self) -> int:
        """Layers of the network, real or not."""

    @abc.abstractmethod
    def look(self, needs: Needs) -> dict[str, Any]:
        """Arguments of :class:`MaskContext` that come from a network.

        Args:
            needs (Needs): By absolute layer.
        """

    @abc.abstractmethod
    def describe(self, needs: Needs) -> str:
        """Where what is needed comes from; '' if nothing is."""

    @abc.abstractmethod
    def attention_map(self) -> Tensor:
        """(B, Hp, Wp), attention of the last layer, heads averaged."""

    def grid_of(self, generator: MaskGenerator) -> tuple[int, int]:
        """The patches; for a generator of pixels, these.

        Args:
            generator (MaskGenerator): Any.
        """
        height, width = self.images.shape[-2:]
        return (height, width) if generator.pixels else self.grid

    def context(self, generator: MaskGenerator, *, num_views: int = 1
                ) -> MaskContext:
        """What a generator sees: each view is the whole image.

        Args:
            generator (MaskGenerator): Any.
            num_views (int): V. Defaults to 1.

        Returns:
            MaskContext: Of V x B rows.

        Raises:
            ConfigError: The generator does not fit grid or network.
        """
        grid = self.grid_of(generator)
        generator.check(grid, self.num_layers)
        needs = generator.needs.resolve(self.num_layers)
        images = self.images.repeat(num_views, 1, 1, 1)
        given = {name: _repeat(value, num_views)
                 for name, value in self.look(needs).items()}
        if needs.saliency:
            given['saliency'] = spectral_residual(images, taper=TAPER)
        steps = round(self.fraction * 1000)
        return MaskContext(
            grid=grid, batch_size=len(self.images), num_views=num_views,
            draws=HashDraws(self.seed, steps,
                            SampleKeys.arange(len(self.images)),
                            range(num_views)),
            progress=Progress(steps, 1000, round(self.fraction * EPOCHS),
                              EPOCHS),
            device=images.device, num_layers=self.num_layers,
            images=(images - 0.5) / 0.25, **given)


def _fused(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mean over the heads (B, H, L), as (B, Hp, Wp)."""
    return rows.mean(1).view(-1, *grid)


def _repeat(value: Any, times: int) -> Any:
    """The rows of every tensor, once a view."""
    if isinstance(value, dict):
        return {key: _repeat(one, times) for key, one in value.items()}
    return value.repeat(times, *(1, ) * (value.ndim - 1))


@dataclass(frozen=True, eq=False)
class StandInInputs(MaskInputs):
    """Formulas in the place of a network.

    Attention of the class token is spectral residual saliency (earlier layers
    and other heads see it at other scales), all patches attend alike;
    features are colours and places; difficulty is contrast.
    """

    @property
    def num_layers(self) -> int:
        """As a ViT-S."""
        return STAND_IN_LAYERS

    def look(self, needs: Needs) -> dict[str, Any]:
        """See the class."""
        given: dict[str, Any] = {}
        if needs.attention:
            given['attention'] = {
                layer: self._attention(layer, full=layer in needs.full)
                for layer in (*needs.cls_rows, *needs.full)}
        if needs.features:
            given['features'] = self._features()
        if needs.difficulty:
            given['difficulty'] = self._contrast()
        return given

    def describe(self, needs: Needs) -> str:
        """Names each formula, and that it is one."""
        words = [word for needed, word in (
            (needs.attention, 'attention: spectral residual saliency'),
            (needs.features, 'features: colour and place'),
            (needs.difficulty, 'difficulty: contrast'))
            if needed]
        text = '; '.join(words)
        if text:
            text += ' (stand-in for a network)'
        if needs.saliency:
            text = '; '.join(filter(None, (
                text, 'saliency: spectral residual')))
        return text

    def attention_map(self) -> Tensor:
        """See the base class."""
        rows = self._attention(self.num_layers - 1, full=False)[:, :, 1:]
        return _fused(rows, self.grid)

    def _attention(self, layer: int, *, full: bool) -> Tensor:
        """Rows (B, H, 1 + L) of sum 1, or the same row for each token."""
        depth = layer / max(1, self.num_layers - 1)
        heads = []
        for head in range(STAND_IN_HEADS):
            sigma = 1.5 + 2.5 * (1 - depth) + 0.75 * head
            saliency = spectral_residual(
                self.images, sigma=sigma, taper=TAPER)[:, None]
            cells = F.interpolate(
                saliency, self.grid, mode='bilinear', antialias=True,
                align_corners=False).flatten(1)
            weights = cells + 0.05
            own = weights.sum(1, keepdim=True) * 0.1
            heads.append(torch.cat([own, weights], 1))
        rows = torch.stack(heads, 1)
        rows = rows / rows.sum(2, keepdim=True)
        if not full:
            return rows
        return rows[:, :, None].expand(-1, -1, rows.shape[2], -1)

    def _pool(self, values: Tensor) -> Tensor:
        """Mean of each patch, (B, L, C)."""
        pooled = F.adaptive_avg_pool2d(values, self.grid)
        return pooled.flatten(2).transpose(1, 2)

    def _features(self) -> Tensor:
        """Colour and place of each patch, centred, (B, L, 5)."""
        colours = self._pool(self.images)
        colours = colours - colours.mean(1, keepdim=True)
        colours = colours / colours.std().clamp(min=1e-6)
        y, x = (torch.linspace(-1, 1, side, device=colours.device)
                for side in self.grid)
        place = torch.stack(torch.meshgrid(y, x, indexing='ij'), -1)
        return torch.cat([colours, place.flatten(0, 1).expand(
            len(colours), -1, -1)], 2)

    def _contrast(self) -> Tensor:
        """Standard deviation of the grey values of each patch, (B, L)."""
        grey = self.images.mean(1, keepdim=True)
        mean, square = self._pool(grey), self._pool(grey.square())
        return (square - mean.square()).clamp(min=0).sqrt()[..., 0]


@dataclass(frozen=True, eq=False)
class NetworkInputs(MaskInputs):
    """A network's own attention and features.

    Args:
        model (nn.Module): An algorithm with a masked ViT, see
            :func:`backbone_of`.
        source (str): What the weights are, for the words in the picture.
    """
    model: nn.Module = field(kw_only=True)
    source: str = field(kw_only=True)

    def __post_init__(self) -> None:
        backbone_of(self.model)

    @property
    def backbone(self) -> Any:
        """The teacher's backbone, else the model's."""
        return backbone_of(self.model)

    @property
    def num_layers(self) -> int:
        """Depth of the backbone."""
        return int(self.backbone.num_layers)

    @torch.no_grad()
    def look(self, needs: Needs) -> dict[str, Any]:
        """One forward pass."""
        if not (needs.attention or needs.features or needs.difficulty):
            return {}
        encoded = self.backbone.encode(
            self.normalised(), cls_rows=needs.cls_rows, full=needs.full)
        given: dict[str, Any] = dict(features=encoded.patches)
        if encoded.attention:
            given['attention'] = encoded.attention
        if needs.difficulty:
            predicted = self._predict(encoded)
            given['difficulty'] = (
                StandInInputs(self.images, self.grid)._contrast()
                if predicted is None else predicted)
        return given

    def describe(self, needs: Needs) -> str:
        """Whose attention and features these are."""
        words = [word for needed, word in (
            (needs.attention, 'attention'), (needs.features, 'features'))
            if needed]
        text = f'{" and ".join(words)}: {self.source}' if words else ''
        if needs.difficulty:
            known = getattr(self.model, 'patch_difficulty', None) is not None
            text = '; '.join(filter(None, (
                text, f'difficulty: {self.source}' if known
                else 'difficulty: contrast (stand-in for a network)')))
        if needs.saliency:
            text = '; '.join(filter(None, (
                text, 'saliency: spectral residual')))
        return text

    @torch.no_grad()
    def attention_map(self) -> Tensor:
        """See the base class."""
        last = self.num_layers - 1
        encoded = self.backbone.encode(self.normalised(), cls_rows=[last])
        return _fused(encoded.attention[last][:, :, 1:], self.grid)

    def normalised(self) -> Tensor:
        """The images as the network was trained on them."""
        return normalised(
            self.images, getattr(self.model, 'data_preprocessor', None))

    def _predict(self, encoded: Any) -> Tensor | None:
        """Difficulty by the model's own head, if it has one."""
        predict = getattr(self.model, 'predict_difficulty', lambda _: None)
        return predict(encoded)  # type: ignore[no-any-return]
