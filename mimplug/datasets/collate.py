"""Batches of views, stacked in the worker."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import default_collate

from mimplug.errors import ConfigError
from mimplug.registry import FUNCTIONS

from .device.packing import pack_images
from .device.plan import RawImage


@FUNCTIONS.register_module()
def view_collate(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Stacks each view over the samples; data samples stay a list.

    In a worker the batch is written straight into shared memory, so the main
    process neither stacks nor copies.

    Args:
        samples (Sequence[dict]): B results of
            :class:`mimplug.datasets.PackViews`.

    Returns:
        dict: ``inputs``, a list of V tensors (B, 3, h_v, w_v), or one tensor
        (B, 3, H, W) if the samples have a single view, or what
        :func:`mimplug.datasets.device.pack_images` makes of images that the
        device will cut; ``data_samples``, a list of B.

    Raises:
        ConfigError: The images of a view differ in size, or the samples in
            their number of views.
    """
    inputs = [sample['inputs'] for sample in samples]
    data_samples = [sample['data_samples'] for sample in samples]
    if isinstance(inputs[0], RawImage):
        batch: Any = pack_images(inputs, data_samples)
    elif isinstance(inputs[0], torch.Tensor):
        batch = _stack(inputs, 'inputs')
    else:
        counts = {len(views) for views in inputs}
        if len(counts) != 1:
            raise ConfigError(
                f'samples of one batch have {sorted(counts)} views')
        batch = [_stack(views, f'view {number}')
                 for number, views in enumerate(zip(*inputs))]
    return dict(inputs=batch, data_samples=data_samples)


def _stack(images: Sequence[torch.Tensor], name: str) -> torch.Tensor:
    """Equal images as one tensor."""
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) != 1:
        raise ConfigError(
            f'{name}: images of shapes {sorted(shapes)} cannot be stacked; '
            "add dict(type='mimplug.CenterView', size=...) or another "
            'resize to the pipeline')
    batch: torch.Tensor = default_collate(list(images))
    return batch
