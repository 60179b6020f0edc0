"""Saliency of a network in an ONNX file, run by OpenCV."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimplug.draws import to_device
from mimplug.errors import ConfigError, check_range
from mimplug.registry import MODELS

from .base import SaliencyTarget, weights_record

# ImageNet's, RGB, on the 0..255 scale.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


@MODELS.register_module()
class OnnxSaliency(SaliencyTarget):
    r"""U2-Net and its relatives from a given file.

    The image is brought back to its colours, resized, divided by its own
    maximum and normalised; the output is stretched,

    .. math:: S = \frac{s - \min s}{\max(\max s - \min s, \epsilon)},

    where :math:`\epsilon` keeps the noise of an image without any salient
    object from being blown up to an object.

    OpenCV works on the host: **every batch waits for the device**, and an
    image takes a second or so on a CPU. Make the maps once by
    ``tools/dataset_converters/cache_saliency.py`` and train with
    :class:`mimplug.CachedSaliency`.

    Args:
        path (str): The file. ``python tools/fetch_assets.py u2netp`` gets
            U2-Net-p (4.6 MB, Apache-2.0), trained on images with masks of
            their objects.
        size (int): Side of the square that the network takes. Defaults to
            320.
        output (str): Name of its output. Defaults to U2-Net-p's '1959'.
        map_size (int): Side of the maps that are given. Defaults to 56.
        min_range (float): :math:`\epsilon` > 0. Defaults to 0.1.
        mean (Sequence[float]): Of the model's data preprocessor, by which
            images are brought back; 0..255. Defaults to ImageNet's, RGB.
        std (Sequence[float]): The same. Defaults to ImageNet's, RGB.
        supervised (bool, optional): See :class:`SaliencyTarget`.

    Raises:
        ConfigError: No such file, no ONNX network in it, or no such output.

    Source: Qin et al., U2-Net, Pattern Recognition 2020; input and output as
    in the package rembg.
    """

    def __init__(self, path: str, *, size: int = 320, output: str = '1959',
                 map_size: int = 56, min_range: float = 0.1,
                 mean: Sequence[float] = MEAN, std: Sequence[float] = STD,
                 supervised: bool | None = None) -> None:
        super().__init__(supervised=supervised)
        check_range('size', size, 8, 1 << 14)
        check_range('map_size', map_size, 1, size)
        check_range('min_range', min_range, 1e-6, 1.0)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ConfigError(
                f'mean={tuple(mean)}, std={tuple(std)}: three values in '
                'both, and std > 0')
        self.path, self.size, self.output = str(path), size, output
        self.map_size, self.min_range = map_size, min_range
        for name, values in (('mean', mean), ('std', std)):
            self.register_buffer(
                name, torch.tensor(values).view(1, 3, 1, 1), False)
        self._weights = weights_record(path)
        self._net = self._open()

    def _open(self) -> Any:
        """OpenCV's network, which has run once."""
        try:
            net = cv2.dnn.readNetFromONNX(self.path)
            net.setInput(np.zeros((1, 3, self.size, self.size), np.float32))
            net.forward(self.output)
        except cv2.error as error:
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(
                f'saliency: {self.path}: OpenCV cannot run it as an ONNX '
                f'network of {self.size} x {self.size} pixels with an output '
                f'{self.output!r}: {reason}') from error
        return net

    def __getstate__(self) -> dict[str, Any]:
        """Without OpenCV's object; a copy reads the file again."""
        return {**self.__dict__, '_net': None}

    @torch.no_grad()
    def forward(self, images: Tensor, data_samples: Sequence | None = None,
                encoder: nn.Module | None = None, view: int = 0) -> Tensor:
        """Maps (M, map_size, map_size) in [0, 1]; waits for the device."""
        if self._net is None:
            self._net = self._open()
        batch = self._prepared(images).cpu().numpy()
        found = []
        for image in batch:  # such a file takes one image at a time
            self._net.setInput(image[None])
            found.append(self._net.forward(self.output).reshape(
                1, self.size, self.size))
        maps = to_device(np.stack(found), images.device)
        small = F.adaptive_avg_pool2d(self._stretched(maps), self.map_size)
        return small[:, 0]

    def _prepared(self, images: Tensor) -> Tensor:
        """Pixels as the network wants them."""
        pixels = (images.float() * self.std + self.mean).clamp(0, 255)
        pixels = F.interpolate(
            pixels, (self.size, self.size), mode='bilinear', antialias=True,
            align_corners=False)
        pixels = pixels / pixels.amax((1, 2, 3), keepdim=True).clamp(min=1e-6)
        mean, std = (pixels.new_tensor(values).view(1, 3, 1, 1) / 255
                     for values in (MEAN, STD))
        prepared: Tensor = (pixels - mean) / std
        return prepared

    def _stretched(self, maps: Tensor) -> Tensor:
        """Each map to [0, 1], faint ones less."""
        low = maps.amin((2, 3), keepdim=True)
        high = maps.amax((2, 3), keepdim=True)
        return (maps - low) / (high - low).clamp(min=self.min_range)

    @property
    def record(self) -> dict[str, Any]:
        """Weight file and settings."""
        return dict(super().record, **self._weights, size=self.size,
                    output=self.output)
