"""Images of all sizes in one buffer, with the plan of their views."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from .plan import RawImage, ViewGroup


def pack_images(images: Sequence[RawImage],
                data_samples: Sequence[Any]) -> dict[str, Any]:
    """Draws the views of a batch and packs its images.

    Nothing is padded, so one large image costs no more than itself. The data
    samples get ``view_boxes`` (V, 4) and ``view_flips`` (V,), as
    :class:`mimplug.MultiCrop` gives them.

    Args:
        images (Sequence[RawImage]): B images.
        data_samples (Sequence[DataSample]): B samples, changed in place.

    Returns:
        dict: ``pixels``, a uint8 tensor (P, 3) with all pixels one after the
        other; ``groups``, a list of :class:`ViewGroup`.
    """
    sizes = np.array([image.pixels.shape[:2] for image in images], np.int64)
    keys = np.array([image.key for image in images], np.uint64)
    groups = images[0].plan.draw(keys, sizes)
    counts = sizes.prod(axis=1)
    offsets = np.cumsum(counts) - counts
    for group in groups:
        group.rows['offset'] = np.tile(offsets, group.num_views)
    _annotate(data_samples, groups)
    pixels = np.concatenate(
        [image.pixels.reshape(-1, 3) for image in images])
    return dict(pixels=torch.from_numpy(pixels), groups=groups)


def _annotate(data_samples: Sequence[Any],
              groups: Sequence[ViewGroup]) -> None:
    """Writes boxes and flips of the views into the data samples."""
    batch = len(data_samples)

    def by_sample(name: str) -> np.ndarray:
        return np.concatenate([
            group.rows[name].reshape(-1, batch) for group in groups]).T

    left, top = by_sample('left'), by_sample('top')
    boxes = np.stack(
        [left, top, left + by_sample('width'), top + by_sample('height')],
        axis=2).astype(np.float32)
    flips = by_sample('flip').astype(bool)
    for sample, box, flip in zip(data_samples, boxes, flips):
        sample.set_metainfo(dict(view_boxes=box, view_flips=flip))
