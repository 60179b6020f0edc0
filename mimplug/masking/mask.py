"""What a mask generator returns."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch


def _join(name: str, parts: Sequence[torch.Tensor | None]
          ) -> torch.Tensor | None:
    """The rows of all masks; None if none of them has any."""
    given = [part for part in parts if part is not None]
    if given and len(given) < len(parts):
        raise ValueError(
            f'{len(given)} of {len(parts)} masks have {name}; all must, or '
            'none')
    return torch.cat(given) if given else None


@dataclass(frozen=True, eq=False)
class Mask:
    """Hidden cells of the M rows (views of images) of a batch.

    The cells are patches, or the cells of whatever grid the generator works
    on, down to pixels. All checks look at shapes and types only, so building
    a mask never waits for the device.

    Args:
        hidden (Tensor): (M, C, Hp, Wp) bool, True = hidden. C is 1, or 3 for
            masks that differ between the colour channels.
        dropped (Tensor, optional): As ``hidden``: cells that are neither
            seen nor predicted (the third state of AMT or I-JEPA).
        boxes (Tensor, optional): (M, 4) or (M, K, 4) float, x0, y0, x1, y1
            in pixels, for masks whose edges do not lie on the grid.
        capacity (int): A host integer >= the number of hidden cells of the
            batch. Defaults to all cells; generators that know the count give
            it, so that hidden tokens are gathered without a sync.
        num_dropped (int, optional): Dropped cells of each row, one host
            integer for all rows, so that a student may leave them out
            without a sync. Defaults to 0 without ``dropped``, and otherwise
            to None, not known.
        kind (Tensor, optional): (M,) int64, which part of a mixture of
            generators made the row.
        num_kinds (int): Number of parts of that mixture. Defaults to 1.
        cells (tuple[int, int], optional): The coarser grid on which the
            hidden cells were chosen, if that is not the grid of the mask.

    Raises:
        TypeError: If ``hidden`` or ``dropped`` is not bool.
        ValueError: If a shape does not fit, or the capacity is out of range.

    Example:
        >>> hidden = torch.tensor([[[[True, False], [False, False]]]])
        >>> mask = Mask(hidden, capacity=1)
        >>> mask.grid, mask.lam.tolist(), mask.hidden_rows()[0].tolist()
        ((2, 2), [0.75], [0])
    """
    hidden: torch.Tensor
    dropped: torch.Tensor | None = None
    boxes: torch.Tensor | None = None
    capacity: int = -1
    num_dropped: int | None = None
    kind: torch.Tensor | None = None
    num_kinds: int = 1
    cells: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self._check_cells('hidden', self.hidden)
        if self.dropped is not None:
            self._check_cells('dropped', self.dropped)
            if self.dropped.shape != self.hidden.shape:
                raise ValueError(
                    f'dropped has shape {tuple(self.dropped.shape)}, hidden '
                    f'{tuple(self.hidden.shape)}; they must be equal')
        boxes = self.boxes
        if boxes is not None and (
                boxes.ndim not in (2, 3) or boxes.shape[-1] != 4
                or boxes.shape[0] != self.batch):
            raise ValueError(
                f'boxes must be (M, 4) or (M, K, 4) with M = {self.batch}, '
                f'got {tuple(boxes.shape)}')
        if self.kind is not None and self.kind.shape != (self.batch,):
            raise ValueError(
                f'kind must be (M,) with M = {self.batch}, got '
                f'{tuple(self.kind.shape)}')
        cells = self.hidden.numel()
        if self.capacity == -1:
            object.__setattr__(self, 'capacity', cells)
        if not 0 <= self.capacity <= cells:
            raise ValueError(
                f'capacity={self.capacity}: allowed is [0, {cells}]')
        self._check_dropped()

    def _check_dropped(self) -> None:
        if self.dropped is None and self.num_dropped is None:
            object.__setattr__(self, 'num_dropped', 0)
        most = 0 if self.dropped is None else self.dropped[0].numel() - 1
        if not 0 <= (self.num_dropped or 0) <= most:
            raise ValueError(
                f'num_dropped={self.num_dropped}: allowed is [0, {most}]')

    @staticmethod
    def _check_cells(name: str, cells: torch.Tensor) -> None:
        if cells.dtype != torch.bool:
            raise TypeError(
                f'{name} must be bool with True = {name}, got {cells.dtype}')
        if cells.ndim != 4 or cells.shape[1] not in (1, 3):
            raise ValueError(
                f'{name} must be (M, C, Hp, Wp) with C = 1 or 3, got '
                f'{tuple(cells.shape)}')

    @classmethod
    def none(cls, batch: int, grid: tuple[int, int],
             device: torch.device | str = 'cpu') -> Mask:
        """Returns a mask that hides nothing.

        Args:
            batch (int): M, number of rows.
            grid (tuple[int, int]): (Hp, Wp).
            device (torch.device | str): Where. Defaults to the CPU.
        """
        hidden = torch.zeros(
            batch, 1, *grid, dtype=torch.bool, device=device)
        return cls(hidden, capacity=0)

    @classmethod
    def cat(cls, masks: Sequence[Mask]) -> Mask:
        """Returns the rows of several masks one after the other.

        Args:
            masks (Sequence[Mask]): At least one; of one grid, number of
                channels and kind of boxes, all with ``kind`` or none. Masks
                without ``dropped`` drop nothing. If the rows drop different
                numbers of cells, ``num_dropped`` is None.

        Raises:
            ValueError: If they do not fit together.
        """
        if not masks:
            raise ValueError('Mask.cat needs at least one mask')
        if len(masks) == 1:
            return masks[0]
        if len({tuple(mask.hidden.shape[1:]) for mask in masks}) > 1:
            raise ValueError(
                'masks must share channels and grid, got '
                f'{[tuple(mask.hidden.shape) for mask in masks]}')
        if len({mask.cells for mask in masks}) > 1:
            raise ValueError(
                'masks must share the grid of their cells, got '
                f'{[mask.cells for mask in masks]}')
        dropped = None
        if any(mask.dropped is not None for mask in masks):
            dropped = torch.cat([
                torch.zeros_like(mask.hidden) if mask.dropped is None
                else mask.dropped for mask in masks])
        counts = {mask.num_dropped for mask in masks}
        return cls(
            torch.cat([mask.hidden for mask in masks]), dropped,
            _join('boxes', [mask.boxes for mask in masks]),
            sum(mask.capacity for mask in masks),
            counts.pop() if len(counts) == 1 else None,
            _join('kind', [mask.kind for mask in masks]),
            max(mask.num_kinds for mask in masks), masks[0].cells)

    @property
    def batch(self) -> int:
        """M, the number of rows."""
        return self.hidden.shape[0]

    @property
    def grid(self) -> tuple[int, int]:
        """(Hp, Wp)."""
        return self.hidden.shape[2], self.hidden.shape[3]

    @property
    def lam(self) -> torch.Tensor:
        """(M,) float32, share of the cells that is still seen."""
        gone = self.hidden
        if self.dropped is not None:
            gone = gone | self.dropped
        return 1.0 - gone.flatten(1).float().mean(1)

    @property
    def tokens(self) -> torch.Tensor:
        """(M, L) bool, the hidden cells in row-major order.

        Raises:
            ValueError: If the mask differs between channels (C = 3).
        """
        if self.hidden.shape[1] != 1:
            raise ValueError(
                'a mask with 3 channels hides parts of tokens; tokens need '
                f'C = 1, got shape {tuple(self.hidden.shape)}')
        return self.hidden.flatten(1)

    def to(self, device: torch.device | str) -> Mask:
        """Returns the mask on another device."""
        moved = {name: value.to(device, non_blocking=True)
                 for name in ('hidden', 'dropped', 'boxes', 'kind')
                 if (value := getattr(self, name)) is not None}
        return replace(self, **moved)

    def hidden_rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Finds the hidden tokens without waiting for the device.

        Returns:
            tuple[Tensor, Tensor]: ``index`` (capacity,) int64 into the
            flattened M L tokens, ascending, and ``valid`` (capacity,) bool.
            Where ``valid`` is False the index is 0 and must get weight 0.

        Raises:
            ValueError: If the mask differs between channels (C = 3).
        """
        found = torch.nonzero_static(
            self.tokens.flatten(), size=self.capacity, fill_value=-1)[:, 0]
        return found.clamp(min=0), found >= 0

    def keep_ids(self) -> torch.Tensor | None:
        """Finds the tokens that are not dropped, without waiting.

        Returns:
            Tensor | None: (M, L - num_dropped) int64, ascending in each row;
            None if nothing is dropped.

        Raises:
            ValueError: If the rows drop different or unknown numbers of
                tokens, or the mask differs between channels.
        """
        if self.dropped is None or self.num_dropped == 0:
            return None
        if self.num_dropped is None:
            raise ValueError(
                'the number of dropped tokens is not known, or differs '
                'between the rows; all views need one generator that drops '
                'tokens, or none')
        length = self.tokens.shape[1]
        gone = self.dropped.flatten(1).to(torch.uint8)
        order = torch.sort(gone, dim=1, stable=True).indices
        return order[:, :length - self.num_dropped]

    def kept_index(self, index: torch.Tensor) -> torch.Tensor:
        """Where tokens stand once the dropped ones are left out.

        Args:
            index (Tensor): (R,) int64 into the flattened M L tokens.

        Returns:
            Tensor: (R,) int64 into the flattened M (L - num_dropped) tokens.
            What it says of a dropped token has no meaning, but lies inside.
        """
        if self.dropped is None or self.num_dropped == 0:
            return index
        length = self.tokens.shape[1]
        place = (~self.dropped.flatten(1)).cumsum(1).sub(1).clamp(min=0)
        row = index.div(length, rounding_mode='floor')
        kept = length - (self.num_dropped or 0)
        return row * kept + place.flatten()[index]
