"""The device's half: from packed images to normalised views."""
from __future__ import annotations

from typing import Any

import torch

from mimplug.errors import ConfigError, check_range
from mimplug.registry import MODELS

from ..preprocessor import MultiViewDataPreprocessor
from .packing import pack_images
from .plan import RawImage
from .render import render_group

CHUNK_MIB = dict(cpu=16)


@MODELS.register_module()
class DeviceMultiCropPreprocessor(MultiViewDataPreprocessor):
    """Cuts, colours and normalises the views of a batch on the device.

    For batches of ``mimplug.PlanMultiCrop``. The result is that of
    ``MultiCrop`` and :class:`mimplug.MultiViewDataPreprocessor`: V tensors
    (B, 3, h, w), the same boxes and flips; pixels differ by a level or two
    out of 255. Other batches, as in an evaluation, are only normalised.

    It depends neither on the batch around a sample nor on the number of
    processes; on CPU and CUDA it is equal to rounding.

    Args:
        mean (Sequence[float]): Mean of each channel on the 0..255 scale.
            Defaults to ImageNet's, RGB.
        std (Sequence[float]): Standard deviation of each channel. Defaults
            to ImageNet's, RGB.
        non_blocking (bool): Whether copies may overlap with computation
            (needs pinned memory). Defaults to True.
        chunk_mib (int, optional): About how many MiB intermediate results
            may take, in [1, 2**20]; they are free again before the networks
            run. Results do not depend on it. Defaults to None: 1024, which
            keeps the number of kernel launches low, or 16 on the CPU, where
            it is caches that count.

    Raises:
        ConfigError: ``mean`` and ``std`` do not fit each other or are not of
            three channels, or ``chunk_mib`` is out of range.
    """

    def __init__(self, *args: Any, chunk_mib: int | None = None,
                 **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if chunk_mib is not None:
            check_range('chunk_mib', chunk_mib, 1, 1 << 20)
        if self.mean.numel() != 3:
            raise ConfigError(
                f'mean of {self.mean.numel()} channels: '
                'DeviceMultiCropPreprocessor makes RGB views, give 3')
        self.chunk_mib = chunk_mib

    def forward(self, data: dict[str, Any], training: bool = False
                ) -> dict[str, Any]:
        """Prepares one batch.

        Args:
            data (dict): ``inputs`` of :func:`pack_images`, or a list of B
                ``RawImage``, which are then packed here; other forms as in
                :class:`mimplug.MultiViewDataPreprocessor`. ``data_samples``:
                passed on.
            training (bool): Has no effect; part of MMEngine's interface.

        Returns:
            dict: ``inputs``, a list of V normalised tensors (B, 3, h, w),
            global views first; ``data_samples``.
        """
        inputs, samples = data['inputs'], data.get('data_samples')
        if isinstance(inputs, (list, tuple)) and any(
                isinstance(image, RawImage) for image in inputs):
            inputs = pack_images(inputs, samples or ())
        if not isinstance(inputs, dict):
            return super().forward(data, training)
        # training calls this under autocast, which must not touch levels
        with torch.no_grad(), torch.autocast(
                self.mean.device.type, enabled=False):
            views = self._render(inputs)
        return dict(inputs=views, data_samples=samples)

    def _render(self, packed: dict[str, Any]) -> list[torch.Tensor]:
        """All views of a packed batch."""
        device = self.mean.device
        pixels = packed['pixels'].to(
            device, non_blocking=bool(self._non_blocking))
        chunk_mib = self.chunk_mib or CHUNK_MIB.get(device.type, 1024)
        views: list[torch.Tensor] = []
        for group in packed['groups']:
            made = render_group(
                pixels, group, chunk_bytes=chunk_mib << 20, mean=self.mean,
                std=self.std)
            views += made.chunk(group.num_views)
        return views
