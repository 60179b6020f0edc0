"""The loader's half: keep the decoded image, say what is to be drawn."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mimplug.errors import ConfigError
from mimplug.registry import TRANSFORMS

from ..transforms.multi_crop import MultiCrop
from .plan import CropPlan, RawImage
from .resample import check_interpolation


@TRANSFORMS.register_module()
class PlanMultiCrop(MultiCrop):
    """:class:`mimplug.MultiCrop` that leaves the pixels to the device.

    Same settings, same draws: boxes, flips and factors of a sample are those
    of ``MultiCrop``. The image is shipped as it is decoded;
    ``mimplug.view_collate`` draws a whole batch at once and
    ``mimplug.DeviceMultiCropPreprocessor`` makes the views.

    Required keys: ``img`` (H, W, 3) uint8 RGB, ``draws``. Added keys:
    ``views``, a :class:`mimplug.datasets.device.RawImage`; ``num_globals``.
    ``view_boxes`` and ``view_flips`` are added to the data samples when they
    become a batch.

    Args:
        global_crops (dict): See :class:`mimplug.MultiCrop`.
        local_crops (dict, optional): The same. Defaults to None.

    Raises:
        ConfigError: A setting is unknown or out of range, or an interpolation
            is none of bilinear, bicubic, lanczos.
    """

    def __init__(self, global_crops: Mapping[str, Any],
                 local_crops: Mapping[str, Any] | None = None) -> None:
        super().__init__(global_crops, local_crops)
        specs = dict(global_crops=self.global_crops,
                     local_crops=self.local_crops)
        for name, spec in specs.items():
            if spec is None:
                continue
            try:
                check_interpolation(spec.interpolation)
            except ConfigError as error:
                raise ConfigError(
                    f'PlanMultiCrop: {name}: {error}') from error
        self.plan = CropPlan(
            [spec for spec in specs.values() if spec is not None])

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Puts the image and its plan in the place of the views.

        Args:
            results (dict): One sample with ``img`` and ``draws``.

        Returns:
            dict: The same dict without ``img``.
        """
        draws = self._draws(results)
        results['views'] = RawImage(
            pixels=np.asarray(results.pop('img')), key=draws.image_key,
            plan=self.plan)
        results['num_globals'] = self.global_crops.num
        return results
