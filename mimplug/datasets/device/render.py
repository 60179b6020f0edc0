"""The views of a group: which rows at a time, and what happens to them."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mimplug.draws import to_device

from . import colour
from .blur import blur, box_reach
from .plan import FIELDS, NO_THRESHOLD, Table, ViewGroup
from .resample import CHANNELS, crop_and_resize

# Of a value while boxes are cut: index, byte, float. While colours change:
# about as many float32 copies of an image as live at the same time.
CUT_BYTES = 12
COLOUR_BYTES = 32


class Step(NamedTuple):
    """An operation, the rows that it meets, and the fields it reads."""
    chosen: NDArray[np.bool_]
    fields: tuple[str, ...]
    change: Callable[..., Tensor]


class Rows:
    """Rows of a group, on the host and on the device.

    Args:
        host (ndarray): (M,) of type ``ROW``.
        device (Tensor): (M, F) float64, the same.
    """

    def __init__(self, host: Table, device: Tensor) -> None:
        self.host = host
        self.device = device

    @classmethod
    def copy(cls, host: Table, device: torch.device) -> Rows:
        """Takes the host's rows to a device in one copy."""
        table = host.view(np.float64).reshape(len(host), len(FIELDS))
        return cls(host, to_device(table, device))

    def __getitem__(self, part: slice) -> Rows:
        return Rows(self.host[part], self.device[part])

    def column(self, name: str) -> Tensor:
        """One field: (M,) float64 on the device."""
        return self.device[:, FIELDS.index(name)]

    def columns(self) -> dict[str, Tensor]:
        """All fields by name."""
        return dict(zip(FIELDS, self.device.unbind(1)))


def render_group(pixels: Tensor, group: ViewGroup, *, chunk_bytes: int,
                 mean: Tensor, std: Tensor) -> Tensor:
    """Cuts, colours and normalises all views of a group.

    The host knows every size and every subset beforehand, so nothing here
    waits for the device.

    Args:
        pixels (Tensor): (P, 3) uint8, packed images, on the device.
        group (ViewGroup): What to do.
        chunk_bytes (int): About how much memory intermediate results may
            take. Does not change the result.
        mean (Tensor): (1, 3, 1, 1), on the device.
        std (Tensor): (1, 3, 1, 1).

    Returns:
        Tensor: (N B, 3, h, w), view-major, in the type of ``mean``.
    """
    height, width = group.shape
    # boxes of similar size side by side: little padding
    order = np.argsort(
        -group.rows['width'] * group.rows['height'], kind='stable')
    rows = Rows.copy(group.rows[order], pixels.device)
    levels = pixels.new_empty(len(order), height, CHANNELS, width)
    for part, largest in _cut_chunks(rows.host, group.shape, chunk_bytes):
        levels[part] = crop_and_resize(
            pixels, rows[part].columns(), largest, group.shape,
            group.interpolation)
    views = mean.new_empty(len(order), CHANNELS, height, width)
    count = max(1, chunk_bytes // (height * width * CHANNELS * COLOUR_BYTES))
    for start in range(0, len(order), count):
        part = slice(start, start + count)
        view = change_colours(levels[part].float(), rows[part])
        view = (view.transpose(1, 2).to(mean.dtype) - mean).div_(std)
        views.index_copy_(0, rows[part].column('place').long(), view)
    return views


def _cut_chunks(host: Table, shape: tuple[int, int], chunk_bytes: int
                ) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Runs of rows that fit into memory, each with its largest box."""
    start = 0
    while start < len(host):
        heights, widths = (
            np.maximum.accumulate(host[name][start:])
            for name in ('height', 'width'))
        # the boxes, their resized rows, the weights
        bytes_each = heights * CHANNELS * (
            CUT_BYTES * widths + 8 * shape[1]) + 4 * (
                heights * shape[0] + widths * shape[1])
        total = bytes_each * np.arange(1, len(heights) + 1)
        count = max(1, int(np.searchsorted(total, chunk_bytes, 'right')))
        largest = int(heights[count - 1]), int(widths[count - 1])
        yield slice(start, start + count), largest
        start += count


def change_colours(images: Tensor, rows: Rows) -> Tensor:
    """Jitter, grey, blur and solarisation of each image, in this order.

    Args:
        images (Tensor): (M, h, 3, w) float32 whole grey levels; changed in
            place.
        rows (Rows): M rows.

    Returns:
        Tensor: ``images``.
    """
    steps = list(_steps(rows.host))
    chosen = [np.flatnonzero(step.chosen) for step in steps]
    # one copy to the device for the subsets of all steps
    index = to_device(np.concatenate(chosen), images.device)
    parts = index.split([len(where) for where in chosen])
    for step, where in zip(steps, parts):
        if not len(where):
            continue
        part = images.index_select(0, where)
        values = (rows.column(field).index_select(0, where).float()
                  for field in step.fields)
        images.index_copy_(0, where, step.change(part, *values))
    return images


def _steps(host: Table) -> Iterator[Step]:
    """Everything that happens to some of the images, in order."""
    def blend(stage: int) -> Step:
        code = f'blend{stage}'
        return Step(host[code] > 0, (code, f'factor{stage}'), colour.blend)

    yield from map(blend, range(3))
    yield Step(host['hue'] >= 0, ('hue', ), colour.hue)
    yield from map(blend, range(3, 6))
    yield Step(host['gray'] > 0, (), _to_gray)
    yield Step(host['radius'] > 0, ('radius', ),
               partial(blur, reach=box_reach(host['radius'].max())))
    yield Step(host['threshold'] < NO_THRESHOLD, ('threshold', ),
               colour.solarize)


def _to_gray(images: Tensor) -> Tensor:
    """Luminance in all three channels."""
    return colour.gray_levels(images).expand_as(images)
