"""Masks for algorithms that were written without our generators."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn

from mimplug.draws import Draws
from mimplug.errors import ConfigError, check_range
from mimplug.masking import Mask, MaskContext, MaskGenerator, build_generator
from mimplug.schedules import Progress

Grid = tuple[int, int]


def enlarge_mask(mask: Mask, factor: int) -> Mask:
    """Repeats each cell ``factor`` times along both axes.

    Args:
        mask (Mask): (M, C, Hp, Wp).
        factor (int): At least 1.

    Returns:
        Mask: (M, C, factor Hp, factor Wp) with the same share hidden; boxes,
        which are in pixels, stay.
    """
    if factor == 1:
        return mask

    def repeat(cells: Tensor) -> Tensor:
        return cells.repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    dropped, number = mask.dropped, mask.num_dropped
    return replace(
        mask, hidden=repeat(mask.hidden),
        dropped=None if dropped is None else repeat(dropped),
        capacity=mask.capacity * factor**2,
        num_dropped=None if number is None else number * factor**2)


def never_empty(mask: Mask) -> Mask:
    """Hides the first cell of the batch if nothing else is hidden.

    A mean over hidden cells would be 0 / 0. Decided on the device.

    Args:
        mask (Mask): (M, C, Hp, Wp).
    """
    first = torch.zeros_like(mask.hidden)
    first[0, :, 0, 0] = True
    if mask.dropped is not None:
        first &= ~mask.dropped
    return replace(mask, hidden=mask.hidden | (first & ~mask.hidden.any()),
                   capacity=max(mask.capacity, 1))


class MaskSource(BaseModule):
    r"""A generator with everything it looks at: pixels in, mask out.

    It works on cells of :math:`c \times c` patches of the model; a mask is
    enlarged to patches by repeating. Attention and features, if the generator
    asks for them, are those of a frozen network, whose patches are the cells.

    Args:
        mask_generator (MaskGenerator | dict): Any generator.
        image_size (tuple[int, int]): (H, W) of the images in pixels.
        grid (tuple[int, int]): (Hp, Wp), patches of the model.
        cell (int, optional): c >= 1. Defaults to what the patches of
            ``attention_from`` ask for, 1 without such a network.
        attention_from (dict | nn.Module, optional): ``mimplug.MaskedViT``,
            with an ``init_cfg`` that says where its weights come from; it
            sees the normalised images of the model. Defaults to none.
        fixed_count (bool): The model needs as many hidden patches in every
            row and step. Defaults to False.
        drops (bool): The model can leave out what the mask drops. Defaults
            to False.

    Raises:
        ConfigError: Generator, model and network do not fit together.
    """

    def __init__(self, mask_generator: MaskGenerator | Mapping[str, Any], *,
                 image_size: Grid, grid: Grid, cell: int | None = None,
                 attention_from: Mapping[str, Any] | nn.Module | None = None,
                 fixed_count: bool = False, drops: bool = False) -> None:
        super().__init__()
        self.mask_generator = build_generator(mask_generator)
        self.image_size, self.grid = image_size, grid
        self.network = build_frozen(attention_from)
        self._check_inputs()
        self._check_kind(drops)
        self.cell = self._fit_cell(cell)
        self.cell_grid = (grid[0] // self.cell, grid[1] // self.cell)
        depth = None if self.network is None else self.network.num_layers
        self.mask_generator.check(self.cell_grid, depth)
        needs = self.mask_generator.needs
        self.needs = needs if depth is None else needs.resolve(depth)
        self.count = self._check_counts(fixed_count)

    @property
    def _name(self) -> str:
        return type(self.mask_generator).__name__

    def _check_kind(self, drops: bool) -> None:
        """Refuses masks that the model would misunderstand."""
        generator = self.mask_generator
        if generator.channels != 1:
            raise ConfigError(
                f'{self._name} makes masks with channels='
                f'{generator.channels}; allowed is channels=1')
        if generator.pixels:
            raise ConfigError(
                f'{self._name} hides pixels; this model wants masks of '
                'patches')
        if generator.drops and not drops:
            raise ConfigError(
                f'{self._name} drops tokens, which this algorithm cannot '
                'leave out')
        views = getattr(generator, 'num_views', None)
        if views not in (None, 1):
            raise ConfigError(
                f'{self._name} is made for {views} views; this algorithm '
                'masks one')

    def _check_inputs(self) -> None:
        """Whether what the generator looks at is there, and looked at."""
        needs = self.mask_generator.needs
        for name in ('saliency', 'difficulty'):
            if getattr(needs, name):
                raise ConfigError(
                    f'{self._name} needs {name}, which this algorithm does '
                    'not compute')
        asked = [name for name in ('attention', 'features')
                 if getattr(needs, name)]
        if asked and self.network is None:
            raise ConfigError(
                f'{self._name} needs {" and ".join(asked)} of a network: '
                "give attention_from=dict(type='mimplug.MaskedViT', …)")
        if self.network is not None and not asked:
            raise ConfigError(
                f'attention_from: {self._name} looks at no network; leave '
                'it out')

    def _fit_cell(self, cell: int | None) -> int:
        """The side of a cell in patches."""
        height, width = self.grid
        if self.network is not None:
            return self._cell_of_network(cell)
        cell = 1 if cell is None else cell
        check_range('cell', cell, 1, min(self.grid))
        if height % cell or width % cell:
            raise ConfigError(
                f'cell={cell}: the patch grid {self.grid} of the model is '
                'not a multiple of it')
        return cell

    def _cell_of_network(self, cell: int | None) -> int:
        """The side in patches of the model of a patch of the network."""
        patch = self.network.patch_size
        coarse = [side // patch for side in self.image_size]
        factors = {fine / max(1, number)
                   for fine, number in zip(self.grid, coarse)}
        factor = min(factors)
        if (len(factors) > 1 or factor < 1 or factor % 1
                or any(side % patch for side in self.image_size)):
            raise ConfigError(
                f'attention_from: patches of {patch} pixels cut an image of '
                f'{self.image_size} into a grid {tuple(coarse)}; the patch '
                f'grid {self.grid} of the model is not a multiple of it')
        if cell not in (None, factor):
            raise ConfigError(
                f'cell={cell}: a patch of attention_from covers {factor:g} '
                'patches of the model along a side; leave cell out')
        return int(factor)

    def _check_counts(self, fixed: bool) -> int | None:
        """Hidden patches of each row, if that is one number."""
        low, high = self.mask_generator.limits(self.cell_grid)
        if high == 0:
            raise ConfigError(
                f'{self._name} hides nothing, so nothing would be learned')
        if not fixed:
            return None
        if low != high:
            raise ConfigError(
                f'{self._name} hides {low} to {high} of the '
                f'{self.cell_grid[0] * self.cell_grid[1]} cells of an image; '
                'this algorithm needs a fixed count: one number as ratio, '
                'apply_prob=1, and a generator with exact counts')
        return int(high) * self.cell**2

    def train(self, mode: bool = True) -> MaskSource:
        """As in torch, but the network stays in evaluation mode."""
        super().train(mode)
        if self.network is not None:
            self.network.eval()
        return self

    @torch.no_grad()
    def forward(self, images: Tensor, draws: Draws,
                progress: Progress) -> Mask:
        """Makes the masks of a batch.

        Args:
            images (Tensor): (B, 3, H, W), normalised.
            draws (Draws): Random numbers of these B rows.
            progress (Progress): Where the run stands.

        Returns:
            Mask: (B, 1, Hp, Wp) on the patch grid of the model. At least one
            cell of the batch is hidden; with ``fixed_count`` the capacity is
            the number of hidden patches.

        Raises:
            ValueError: Images of another size than the model is built for.
        """
        if tuple(images.shape[2:]) != self.image_size:
            raise ValueError(
                f'images of {tuple(images.shape[2:])} pixels for a backbone '
                f'that is built for {self.image_size}')
        mask = self.mask_generator(self._context(images, draws, progress))
        if self.count is None:
            return enlarge_mask(never_empty(mask), self.cell)
        return replace(enlarge_mask(mask, self.cell),
                       capacity=self.count * mask.batch)

    def _context(self, images: Tensor, draws: Draws,
                 progress: Progress) -> MaskContext:
        """What the generator may look at."""
        seen: dict[str, Any] = {}
        if self.network is not None:
            encoded = self.network.encode(
                images, cls_rows=self.needs.cls_rows, full=self.needs.full)
            seen = dict(attention=encoded.attention, features=encoded.patches,
                        num_layers=self.network.num_layers)
        return MaskContext(
            grid=self.cell_grid, batch_size=len(images), draws=draws,
            progress=progress, device=images.device, images=images, **seen)

    @torch.no_grad()
    def last_attention(self, images: Tensor) -> Tensor | None:
        """CLS attention (B, Hc, Wc) of the network's last layer, or None."""
        if self.network is None:
            return None
        encoded = self.network.encode(images, cls_rows=(-1, ))
        row = encoded.attention[self.network.num_layers - 1]
        attention: Tensor = row[:, :, 1:].mean(1).unflatten(1, encoded.grid)
        return attention


def build_frozen(config: Mapping[str, Any] | nn.Module | None) -> Any:
    """A network in evaluation mode that gets no gradients, or None.

    Args:
        config (dict | nn.Module, optional): ``mimplug.MaskedViT`` or another
            network with ``encode``.

    Raises:
        ConfigError: It cannot tell its attention.
    """
    if config is None:
        return None
    network: Any = config
    if isinstance(config, Mapping):
        config = dict(config)
        if config.get('type') == 'mimplug.MaskedViT':
            # teachers have none, so their files do not either
            config.setdefault('with_mask_token', False)
        network = BUILD.build(config)
    if not hasattr(network, 'encode'):
        raise ConfigError(
            f'attention_from: {type(network).__name__} cannot tell its '
            'attention; use mimplug.MaskedViT')
    return network.requires_grad_(False).eval()
