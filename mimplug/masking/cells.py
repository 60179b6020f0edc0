"""Cells of a grid on the host: rectangles, shifts, exact numbers.

All functions work on every row of a batch at once.
"""
from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from mimplug.draws import Draws, to_device
from mimplug.errors import ConfigError
from mimplug.masking.context import MaskContext
from mimplug.masking.mask import Mask

Cells: TypeAlias = NDArray[np.bool_]
Ints: TypeAlias = NDArray[np.int64]


def mask_of_cells(hidden: Cells, context: MaskContext,
                  dropped: Cells | None = None, num_dropped: int = 0
                  ) -> Mask:
    """Returns the mask of cells that were chosen on the host.

    Args:
        hidden (ndarray): (M, Hp, Wp) bool, True = hidden.
        context (MaskContext): Says on which device.
        dropped (ndarray, optional): As ``hidden``.
        num_dropped (int): Dropped cells of each row.
    """
    device = torch.device(context.device)
    gone = None if dropped is None else to_device(dropped[:, None], device)
    return Mask(to_device(hidden[:, None], device), gone,
                capacity=int(np.count_nonzero(hidden)),
                num_dropped=num_dropped)


def check_sides(grid: tuple[int, int]) -> None:
    """Raises unless a block fits into the grid.

    Args:
        grid (tuple[int, int]): (Hp, Wp).

    Raises:
        ConfigError: If a side has a single cell.
    """
    if min(grid) < 2:
        raise ConfigError(
            f'grid={grid}: a block is smaller than the grid in both '
            'directions, so both sides need at least 2 cells')


def rectangles(top: Ints, left: Ints, height: Ints | int,
               width: Ints | int, grid: tuple[int, int]) -> Cells:
    """Returns (…, Hp, Wp) bool, True inside; parts off the grid are cut.

    Args:
        top (ndarray): (…,) first row of cells.
        left (ndarray): (…,) first column.
        height (ndarray): (…,) or one number of cells.
        width (ndarray): (…,) or one number of cells.
        grid (tuple[int, int]): (Hp, Wp).
    """
    y, x = np.arange(grid[0]), np.arange(grid[1])
    top, left, height, width = (
        np.asarray(part)[..., None] for part in (top, left, height, width))
    within_y = (y >= top) & (y < top + height)
    within_x = (x >= left) & (x < left + width)
    inside: Cells = within_y[..., :, None] & within_x[..., None, :]
    return inside


def integer_table(draws: Draws, name: str, below: int | Ints, *shape: int
                  ) -> Ints:
    r"""Returns (M, \*shape) integers of 0, …, below - 1 for each row.

    Args:
        draws (Draws): Random numbers of the M rows.
        name (str): Name of the draw.
        below (int | ndarray): >= 1; broadcast against the result.
        shape (int): Shape of the table of one row.
    """
    return np.asarray(draws.host_uniform(name, *shape) * below, np.int64)


def force_counts(cells: Cells, counts: Ints, draws: Draws, name: str,
                 allowed: Cells | None = None) -> Cells:
    """Returns the cells with random ones added or taken away.

    Args:
        cells (ndarray): (M, Hp, Wp) bool.
        counts (ndarray): (M,) how many there are to be in each row.
        draws (Draws): Random numbers of the M rows.
        name (str): Name of the draw.
        allowed (ndarray, optional): As ``cells``: what may be True. The
            caller makes sure that these are enough. Defaults to all.
    """
    flat = cells.reshape(len(cells), -1)
    # present cells come first, forbidden ones last, chance decides between
    keys = draws.host_uniform(name, flat.shape[1]) + 2.0 * flat
    if allowed is not None:
        keys -= 4.0 * ~allowed.reshape(flat.shape)
    order = np.argsort(-keys, axis=1, kind='stable')
    chosen = np.zeros_like(flat)
    ranks = np.arange(flat.shape[1]) < np.asarray(counts)[:, None]
    np.put_along_axis(chosen, order, ranks, axis=1)
    return chosen.reshape(cells.shape)


def roll_cells(cells: Cells, draws: Draws, name: str = 'roll') -> Cells:
    """Returns the grids shifted round both axes by random numbers of cells.

    Args:
        cells (ndarray): (M, Hp, Wp) bool.
        draws (Draws): Random numbers of the M rows.
        name (str): Name of the two draws. Defaults to 'roll'.

    Source: CAPI (Darcet et al., 2025) and DINOv3 shift their block masks so.
    """
    rows, height, width = cells.shape
    down = draws.row_integers(f'{name}/y', 0, height - 1)[:, None]
    right = draws.row_integers(f'{name}/x', 0, width - 1)[:, None]
    y = (np.arange(height) - down) % height
    x = (np.arange(width) - right) % width
    rolled: Cells = cells[np.arange(rows)[:, None, None], y[:, :, None],
                          x[:, None, :]]
    return rolled


def check_divides(grid: tuple[int, int], size: tuple[int, int]) -> None:
    """Raises unless an image is cut into equal cells.

    Args:
        grid (tuple[int, int]): (Hp, Wp) cells.
        size (tuple[int, int]): (H, W) of the image in pixels.

    Raises:
        ConfigError: If a side is no multiple of its number of cells.
    """
    if min(grid) < 1 or size[0] % grid[0] or size[1] % grid[1]:
        raise ConfigError(
            f'an image of {size[0]} x {size[1]} pixels has no '
            f'{grid[0]} x {grid[1]} equal cells: its height must be a '
            f'multiple of {grid[0]} and its width of {grid[1]}')


def enlarge(cells: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Repeats the cells (…, Hp, Wp) to (…, H, W).

    Args:
        cells (Tensor): Anything on a grid that divides the size.
        size (tuple[int, int]): (H, W) in pixels.
    """
    *lead, height, width = cells.shape
    if (height, width) == tuple(size):
        return cells
    tall, wide = size[0] // height, size[1] // width
    # one axis after the other, so that the larger copy is one of whole lines
    lines = cells[..., None].expand(*lead, height, width, wide).reshape(
        *lead, height, size[1])
    return lines[..., :, None, :].expand(
        *lead, height, tall, size[1]).reshape(*lead, *size)


def as_grid(cells: int | tuple[int, int], name: str = 'cells'
            ) -> tuple[int, int]:
    """Returns (Hp, Wp) from one number or two.

    Args:
        cells (int | tuple[int, int]): Cells along both sides, or each.
        name (str): Name of the argument, for the message.

    Raises:
        ConfigError: If it is neither, or a number is below 1.
    """
    pair = [cells, cells] if isinstance(cells, int) else list(cells)
    if len(pair) != 2 or any(
            not isinstance(side, int) or side < 1 for side in pair):
        raise ConfigError(
            f'{name}={cells!r}: allowed is a number >= 1, or two of them')
    return pair[0], pair[1]
