"""What a mask generator may look at."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from mimplug.draws import Draws, PickedDraws, to_device
from mimplug.errors import ConfigError
from mimplug.masking.needs import Needs, absolute_layer
from mimplug.schedules import Progress

_PER_ROW = ('saliency', 'features', 'images', 'difficulty')


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskContext:
    """A batch of M = V B rows, view-major, as a generator sees it.

    Args:
        grid (tuple[int, int]): (Hp, Wp) cells of a row; L = Hp Wp.
        draws (Draws): Random numbers of these rows.
        progress (Progress): Where the run stands. Defaults to its start.
        num_views (int): V. Defaults to 1.
        batch_size (int): B, images on this rank.
        device (torch.device | str): Where the mask is needed. Defaults to
            the CPU.
        attention (Mapping[int, Tensor], optional): Layer index, counted from
            the first -> softmaxed attention of the teacher on the full
            image: CLS rows (M, H, L + 1), or matrices (M, H, L + 1, L + 1),
            with H = 1 where the mean over the heads was asked for.
        num_layers (int, optional): Depth of the teacher, with which negative
            layer indices are understood.
        saliency (Tensor, optional): (M, h, w) float.
        features (Tensor, optional): (M, L, D) patch features.
        images (Tensor, optional): (M, 3, H, W) normalised pixels.
        difficulty (Tensor, optional): (M, L) predicted loss of each token.
        first_view (int): Position of the first view in the whole batch;
            :meth:`view` sets it. Defaults to 0.

    Raises:
        ValueError: If the draws are for another batch, or a tensor does not
            have M rows (or an attention not L + 1 columns).
    """
    grid: tuple[int, int]
    draws: Draws
    batch_size: int
    num_views: int = 1
    progress: Progress = field(default_factory=Progress)
    device: torch.device | str = 'cpu'
    attention: Mapping[int, torch.Tensor] | None = None
    num_layers: int | None = None
    saliency: torch.Tensor | None = None
    features: torch.Tensor | None = None
    images: torch.Tensor | None = None
    difficulty: torch.Tensor | None = None
    first_view: int = 0

    def __post_init__(self) -> None:
        if self.num_views < 1 or self.batch_size < 1 or min(self.grid) < 1:
            raise ValueError(
                f'num_views={self.num_views}, batch_size={self.batch_size}, '
                f'grid={self.grid}: all must be at least 1')
        bound = self.draws.bind(self.num_views, self.batch_size)
        object.__setattr__(self, 'draws', bound)
        object.__setattr__(self, 'device', torch.device(self.device))
        for name in _PER_ROW:
            value = getattr(self, name)
            if value is not None and len(value) != self.rows:
                raise ValueError(
                    f'{name} has shape {tuple(value.shape)}, the context '
                    f'{self.rows} rows')
        for layer, value in (self.attention or {}).items():
            columns = (self.length + 1,) * (value.ndim - 2)
            if (value.ndim not in (3, 4) or len(value) != self.rows
                    or tuple(value.shape[2:]) != columns):
                raise ValueError(
                    f'attention of layer {layer} has shape '
                    f'{tuple(value.shape)}; allowed for the grid '
                    f'{self.grid} is ({self.rows}, H, {self.length + 1}) or '
                    f'({self.rows}, H, {self.length + 1}, {self.length + 1})')

    @property
    def rows(self) -> int:
        """M, the number of rows."""
        return self.num_views * self.batch_size

    @property
    def length(self) -> int:
        """L, the number of cells of a row."""
        return self.grid[0] * self.grid[1]

    def cls_rows(self, layer: int) -> torch.Tensor:
        """Returns the attention of the CLS token to the L patches.

        Args:
            layer (int): Layer index; negative ones count from the end.

        Returns:
            Tensor: (M, H, L), not normalised again after the CLS column went.

        Raises:
            ConfigError: If the teacher did not give this layer.
        """
        return self.cls_tokens(layer)[:, :, 1:]

    def cls_tokens(self, layer: int) -> torch.Tensor:
        """Returns the attention (M, H, L + 1) of CLS to all tokens, CLS first.

        Args:
            layer (int): Layer index; negative ones count from the end.

        Raises:
            ConfigError: If the teacher did not give this layer.
        """
        value = self._layer(layer)
        return value[:, :, 0] if value.ndim == 4 else value

    def full_attention(self, layer: int) -> torch.Tensor:
        """Returns the attention matrices (M, H, L + 1, L + 1) of a layer.

        Args:
            layer (int): Layer index; negative ones count from the end.

        Raises:
            ConfigError: If the teacher did not give them.
        """
        value = self._layer(layer)
        if value.ndim != 4:
            raise ConfigError(
                f'layer {layer}: whole attention matrices are needed, but '
                'only CLS rows were given; ask with Needs(full=…)')
        return value

    def depth(self) -> int:
        """Returns the number of layers of the teacher.

        Raises:
            ConfigError: If it was not given.
        """
        if self.num_layers is None:
            raise ConfigError(
                'the mask generator needs the depth of the teacher: give '
                'MaskContext(num_layers=…)')
        return self.num_layers

    def require(self, name: Literal[
            'saliency', 'features', 'images', 'difficulty']) -> torch.Tensor:
        """Returns an optional input that must be there.

        Raises:
            ConfigError: If it was not given.
        """
        value: torch.Tensor | None = getattr(self, name)
        if value is None:
            raise ConfigError(
                f'the mask generator needs {name}, which this algorithm '
                'does not give')
        return value

    def view(self, view: int) -> MaskContext:
        """Returns the context of the B rows of one view.

        Args:
            view (int): Position of the view, 0 <= view < V.
        """
        rows = slice(view * self.batch_size, (view + 1) * self.batch_size)
        return self._part(self.draws.for_view(view), rows, self.batch_size,
                          first_view=self.first_view + view)

    def pick(self, rows: NDArray[np.int64], needs: Needs) -> MaskContext:
        """Returns the context of some rows, as one view.

        Args:
            rows (ndarray): (R,) indices on the host, at least one.
            needs (Needs): What will be looked at; the rest is left out,
                since picking copies it.
        """
        if self.num_layers is not None:
            needs = needs.resolve(self.num_layers)
        layers = {*needs.cls_rows, *needs.full}
        wanted = self.attention and {
            layer: value for layer, value in self.attention.items()
            if self.num_layers is None or layer in layers}
        unread: dict[str, Any] = {
            name: None for name in _PER_ROW if not getattr(needs, name)}
        part = replace(self, attention=wanted, **unread)
        index = to_device(
            np.asarray(rows, np.int64), torch.device(self.device))
        return part._part(PickedDraws(self.draws, rows), index, len(rows))

    def parts(self) -> Iterator[MaskContext]:
        """Contexts to be worked off one after the other; see `Draws.split`.

        One with all rows, unless the draws are sequential.
        """
        draws = self.draws.split()
        if len(draws) == 1:
            yield self
            return
        for row, part in enumerate(draws):
            yield self._part(part, slice(row, row + 1), 1)

    def _layer(self, layer: int) -> torch.Tensor:
        if self.attention is None:
            raise ConfigError(
                f'the mask generator needs the attention of layer {layer}, '
                'which was not given; the teacher must be a ViT that returns '
                'it')
        key = layer
        if layer < 0 and layer not in self.attention:
            if self.num_layers is None:
                raise ConfigError(
                    f'layer={layer} counts from the end: give '
                    'MaskContext(num_layers=…)')
            key = absolute_layer(layer, self.num_layers)
        if key not in self.attention:
            raise ConfigError(
                f'attention of layer {layer} was not given, only of layers '
                f'{sorted(self.attention)}')
        return self.attention[key]

    def _part(self, draws: Draws, rows: slice | torch.Tensor, count: int,
              **changes: Any) -> MaskContext:
        """The context of some rows, as one view."""
        attention = self.attention and {
            layer: value[rows] for layer, value in self.attention.items()}
        optional: dict[str, Any] = {
            name: value[rows] for name in _PER_ROW
            if (value := getattr(self, name)) is not None}
        return replace(self, draws=draws, num_views=1, batch_size=count,
                       attention=attention, **optional, **changes)
