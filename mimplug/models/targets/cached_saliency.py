"""Saliency maps that were made once, cut as the views are."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from mimplug.draws import to_device
from mimplug.errors import ConfigError, check_range
from mimplug.registry import MODELS

from .base import SaliencyTarget

MAPS, ABOUT = 'maps.npy', 'about.json'
HINT = 'make it by tools/dataset_converters/cache_saliency.py'


class SaliencyWriter:
    """Writes maps of whole images, one row an index of the data set.

    ``maps.npy`` is an array (N, h, w) float16 that is written in place;
    ``about.json`` appears at the end, so that a folder without it is known to
    be unfinished.

    Args:
        folder (str | Path): Is made.
        count (int): N, images of the data set.
        size (int): h = w.
        about (Mapping): Plain values that say how the maps are made.
    """

    def __init__(self, folder: str | Path, count: int, size: int,
                 about: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ABOUT).unlink(missing_ok=True)
        self.about = dict(about)
        self.maps = np.lib.format.open_memmap(
            self.folder / MAPS, 'w+', np.float16, (count, size, size))
        self.done = np.zeros(count, bool)

    def write(self, index: Sequence[int], maps: Tensor) -> None:
        """Stores the maps of some images, scaled to [0, 1] where needed.

        Args:
            index (Sequence[int]): R places in the data set.
            maps (Tensor): (R, h', w') of any scale; the largest absolute
                value of a map becomes 1, for float16 ends at 65,504.
        """
        largest = maps.abs().amax((1, 2), keepdim=True).clamp(min=1e-12)
        small = F.interpolate(
            (maps / largest)[:, None].float(), self.maps.shape[1:],
            mode='bilinear', antialias=True, align_corners=False)[:, 0]
        self.maps[np.asarray(index)] = small.cpu().numpy()
        self.done[np.asarray(index)] = True

    def close(self) -> None:
        """Declares the folder finished.

        Raises:
            ConfigError: Images without a map are left.
        """
        missing = np.flatnonzero(~self.done)
        if len(missing):
            raise ConfigError(
                f'{self.folder}: {len(missing)} of {len(self.done)} images '
                f'have no map, the first is number {missing[0]}')
        self.maps.flush()
        text = json.dumps(dict(self.about, count=len(self.maps)), indent=1)
        (self.folder / ABOUT).write_text(text + '\n')


@MODELS.register_module()
class CachedSaliency(SaliencyTarget):
    """Stored maps of whole images, cropped and mirrored as each view was.

    The localiser then saw the whole image and not the view, which changes
    the result a little, and costs nothing while training. The data samples
    must carry ``sample_idx``, ``view_boxes``, ``view_flips`` and ``img_shape``
    or ``ori_shape``, as those of ``mimplug.MultiCrop`` and
    ``mimplug.PackViews`` do.

    Args:
        folder (str): Written by ``tools/dataset_converters/
            cache_saliency.py`` for this data set in this order.
        size (int): Side of the map of a view. Defaults to 14.
        num_images (int, optional): Images of the data set, to be checked
            when the model is built. Defaults to None.

    Raises:
        ConfigError: The folder is missing, unfinished or for another number
            of images.
    """

    def __init__(self, folder: str, size: int = 14,
                 num_images: int | None = None) -> None:
        self.folder, self.size = Path(folder), size
        check_range('size', size, 1, 1024)
        self.about = self._read_about()
        super().__init__(supervised=self.about['saliency'].get('supervised'))
        self._maps: NDArray | None = None
        shape = self.maps.shape
        if len(shape) != 3 or len(self.maps) != self.about['count']:
            raise ConfigError(
                f'{self.folder / MAPS} has shape {shape}; {ABOUT} promises '
                f'{self.about["count"]} maps; {HINT}')
        if num_images not in (None, len(self.maps)):
            raise ConfigError(
                f'{self.folder} holds the maps of {len(self.maps)} images, '
                f'the data set has {num_images}; {HINT} for it')

    def _read_about(self) -> dict[str, Any]:
        """What the writer said at the end."""
        if not self.folder.is_dir():
            raise ConfigError(
                f'saliency: {self.folder}: no such folder; {HINT}')
        for name in (MAPS, ABOUT):
            if not (self.folder / name).is_file():
                raise ConfigError(
                    f'saliency: {self.folder} has no {name}: it was not '
                    f'finished; {HINT}')
        about: dict[str, Any] = json.loads((self.folder / ABOUT).read_text())
        return about

    @property
    def maps(self) -> NDArray:
        """(N, h, w) float16, read from the disk as needed."""
        if self._maps is None:
            self._maps = np.load(self.folder / MAPS, mmap_mode='r')
        return self._maps

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file."""
        return {**self.__dict__, '_maps': None}

    @torch.no_grad()
    def forward(self, images: Tensor, data_samples: Sequence | None = None,
                encoder: nn.Module | None = None, view: int = 0) -> Tensor:
        """Maps (M, size, size) of one view.

        Args:
            images (Tensor): (M, 3, H, W); only their device counts.
            data_samples (Sequence[DataSample]): M samples.
            encoder (nn.Module, optional): Not used.
            view (int): Which view. Defaults to 0.

        Returns:
            Tensor: (M, size, size) float32.

        Raises:
            ConfigError: A sample does not say what the view shows, or its
                map is not in the folder.
        """
        index, boxes, flips = view_geometry(data_samples, view)
        if index.max(initial=0) >= len(self.maps):
            raise ConfigError(
                f'{self.folder} has {len(self.maps)} maps, but the batch '
                f'holds image {index.max()}: it was made for another data '
                f'set; {HINT}')
        maps = to_device(self.maps[index].astype(np.float32), images.device)
        return crop_maps(
            maps, to_device(boxes, images.device),
            to_device(flips, images.device), self.size)

    @property
    def record(self) -> dict[str, Any]:
        """The record of the localiser that made the maps."""
        return dict(super().record, folder=str(self.folder),
                    made_by=self.about['saliency'])


def view_geometry(data_samples: Sequence | None, view: int
                  ) -> tuple[NDArray[np.int64], NDArray[np.float32],
                             NDArray[np.bool_]]:
    """What one view shows of each image of a batch.

    Args:
        data_samples (Sequence[DataSample], optional): M samples.
        view (int): Which view.

    Returns:
        tuple: Index in the data set (M,), box (M, 4) as shares x0, y0, x1,
        y1 of the image, mirrored or not (M,); on the host.

    Raises:
        ConfigError: Something is not known.
    """
    rows: list[tuple[int, NDArray, bool]] = []
    for sample in data_samples or ():
        shape = getattr(sample, 'ori_shape', None) or getattr(
            sample, 'img_shape', None)
        index = getattr(sample, 'sample_idx', None)
        boxes = getattr(sample, 'view_boxes', None)
        if shape is None or index is None or boxes is None:
            rows = []
            break
        if view >= len(boxes):
            raise ConfigError(
                f'view {view}: the samples have {len(boxes)} views')
        height, width = shape[:2]
        rows.append((index, boxes[view] / (width, height, width, height),
                     bool(sample.view_flips[view])))
    if not rows:
        raise ConfigError(
            'stored saliency maps need data samples with sample_idx, '
            'view_boxes, view_flips and ori_shape: use mimplug.KeyedDataset, '
            'mimplug.LoadView, mimplug.MultiCrop and mimplug.PackViews')
    index, box, flip = zip(*rows)
    return (np.asarray(index, np.int64), np.asarray(box, np.float32),
            np.asarray(flip, bool))


def crop_maps(maps: Tensor, boxes: Tensor, flips: Tensor, size: int
              ) -> Tensor:
    """Cuts a box out of each map, mirrors it and resizes it.

    Args:
        maps (Tensor): (M, h, w) of whole images.
        boxes (Tensor): (M, 4) shares x0, y0, x1, y1 in [0, 1].
        flips (Tensor): (M,) bool, True: mirrored from left to right.
        size (int): Side of the result.

    Returns:
        Tensor: (M, size, size), bilinear; beyond the border its values are
        repeated.
    """
    place = (torch.arange(size, device=maps.device) + 0.5) / size
    x0, y0, x1, y1 = boxes.unbind(1)
    across = torch.where(flips[:, None], 1 - place, place)
    x = x0[:, None] + (x1 - x0)[:, None] * across
    y = y0[:, None] + (y1 - y0)[:, None] * place
    grid = torch.stack([
        x[:, None, :].expand(-1, size, -1),
        y[:, :, None].expand(-1, -1, size)], dim=-1)
    with torch.autocast(maps.device.type, enabled=False):
        cut = F.grid_sample(
            maps[:, None], 2 * grid - 1, mode='bilinear',
            padding_mode='border', align_corners=False)
    return cut[:, 0]
