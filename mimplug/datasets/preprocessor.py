"""From uint8 views on the host to normalised views on the device."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from mimplug.errors import ConfigError
from mimplug.registry import MODELS

from .erasing import erase_

Views = Tensor | list[Tensor]


@MODELS.register_module()
class MultiViewDataPreprocessor(BaseDataPreprocessor):
    r"""Stacks, moves and normalises one or many views.

    .. math:: y = (x - mean) / std, \quad x \in [0, 255]

    Images travel to the device as uint8. Rectangles that the data samples
    name in ``erase_boxes`` (:class:`mimplug.MugsMultiCrop`) become noise, see
    :func:`mimplug.datasets.erasing.erase_`. Data samples stay on the host:
    copying their labels one by one would cost B tiny transfers a step.

    Args:
        mean (Sequence[float]): Mean of each channel on the 0..255 scale.
            Defaults to ImageNet's, RGB.
        std (Sequence[float]): Standard deviation of each channel. Defaults
            to ImageNet's, RGB.
        non_blocking (bool): Whether copies may overlap with computation
            (needs pinned memory). Defaults to True.

    Raises:
        ConfigError: ``mean`` and ``std`` do not fit each other.

    Example:
        >>> prepare = MultiViewDataPreprocessor()
        >>> views = [torch.zeros(2, 3, 8, 8, dtype=torch.uint8)] * 2
        >>> [tuple(v.shape) for v in prepare(dict(inputs=views))['inputs']]
        [(2, 3, 8, 8), (2, 3, 8, 8)]
    """
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = (123.675, 116.28, 103.53),
                 std: Sequence[float] = (58.395, 57.12, 57.375), *,
                 non_blocking: bool = True) -> None:
        super().__init__(non_blocking=non_blocking)
        if len(mean) != len(std) or not mean or min(std) <= 0:
            raise ConfigError(
                f'mean={tuple(mean)}, std={tuple(std)}: one value a channel '
                'in both, and std > 0')
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(
                name, torch.tensor(values, dtype=torch.float32).view(
                    1, -1, 1, 1), False)

    def forward(self, data: dict[str, Any], training: bool = False
                ) -> dict[str, Any]:
        """Prepares one batch.

        Args:
            data (dict): ``inputs``: a list of V tensors (B, C, h_v, w_v) or
                of V lists of B tensors (C, h_v, w_v) for many views; a tensor
                (B, C, H, W) or a list of B tensors (C, H, W) for one.
                ``data_samples``: passed on.
            training (bool): Has no effect; part of MMEngine's interface.

        Returns:
            dict: ``inputs``, a list of V normalised tensors or one tensor,
            on the device and in the type of ``mean``; ``data_samples``.

        Raises:
            ConfigError: The inputs have none of these forms.
        """
        views = _as_batches(data['inputs'])
        inputs: Views
        if isinstance(views, Tensor):
            inputs = self._normalise(views)
        else:
            inputs = [self._normalise(view) for view in views]
            samples = data.get('data_samples')
            if samples and hasattr(samples[0], 'erase_boxes'):
                erase_(inputs, samples, self.mean, self.std)
        return dict(inputs=inputs, data_samples=data.get('data_samples'))

    def _normalise(self, images: Tensor) -> Tensor:
        """(B, C, H, W) of any type, normalised in the buffers' type."""
        if images.ndim != 4 or images.shape[1] != self.mean.shape[1]:
            raise ConfigError(
                f'a batch of shape {tuple(images.shape)} does not fit: '
                f'expected (B, {self.mean.shape[1]}, H, W)')
        images = images.to(
            self.mean.device, non_blocking=bool(self._non_blocking))
        if images.is_floating_point():
            images = images.to(self.mean.dtype)
        return (images - self.mean).div_(self.std)


def _as_batches(inputs: Any) -> Views:
    """The accepted forms of ``inputs`` as one tensor or a list of them."""
    if isinstance(inputs, Tensor):
        return inputs
    if isinstance(inputs, (list, tuple)) and inputs:
        if isinstance(inputs[0], (list, tuple)):
            return [_stack(view) for view in inputs]
        if isinstance(inputs[0], Tensor) and inputs[0].ndim == 4:
            return list(inputs)
        if isinstance(inputs[0], Tensor):
            return _stack(inputs)
    raise ConfigError(
        f'inputs of type {type(inputs).__name__}: expected a tensor, a list '
        'of images or a list of views; images of mimplug.PlanMultiCrop need '
        'mimplug.DeviceMultiCropPreprocessor')


def _stack(images: Sequence[Tensor]) -> Tensor:
    """A list of equal images (C, H, W) as one tensor."""
    shapes = {tuple(image.shape) for image in images}
    if len(shapes) != 1:
        raise ConfigError(
            f'images of shapes {sorted(shapes)} cannot be stacked to a batch')
    return torch.stack(list(images))
