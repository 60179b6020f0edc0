"""The one fixed view that evaluation looks at."""
from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image
from torchvision.transforms import functional as tvf

from mimplug.errors import ConfigError
from mimplug.registry import TRANSFORMS

from .functional import parse_interpolation


@TRANSFORMS.register_module()
class CenterView(BaseTransform):
    """Resizes the short side and crops the centre, pixel-equal to torchvision.

    MMPretrain's ``ResizeEdge`` + ``CenterCrop`` round the crop's corner the
    other way for odd margins; here the corner is the reference's, and the
    place of the view in the image is kept.

    Required key: ``img`` (H, W, 3) uint8. Changed keys: ``img`` (size, size,
    3), ``img_shape``. Added keys: ``view_boxes`` (1, 4) float32 in pixels of
    the incoming image, ``view_flips`` (1,), ``num_globals`` = 1.

    Args:
        size (int): Side of the crop in pixels. Images smaller than this are
            padded with black. Defaults to 224.
        resize (int, optional): Length of the short side before the crop;
            None leaves the image as it is. Defaults to 256.
        interpolation (str): Name of torchvision's mode. Defaults to
            'bicubic'.

    Raises:
        ConfigError: ``size`` is larger than ``resize``.

    Source: ``eval_knn.py`` of gkakogeorgiou/attmask.
    """

    def __init__(self, size: int = 224, resize: int | None = 256, *,
                 interpolation: str = 'bicubic') -> None:
        if size < 1 or (resize is not None and resize < size):
            raise ConfigError(
                f'CenterView: size={size}, resize={resize}: allowed is '
                '1 <= size <= resize, or resize=None')
        self.size = size
        self.resize = resize
        self.interpolation = parse_interpolation(interpolation)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img`` by its centre.

        Args:
            results (dict): One sample.

        Returns:
            dict: The same dict.
        """
        image = Image.fromarray(results['img'])
        before = image.size
        if self.resize is not None:
            image = tvf.resize(image, self.resize, self.interpolation)
        box = self._box(image.size)
        scale = np.array([b / a for b, a in zip(before, image.size)] * 2)
        view = np.asarray(tvf.center_crop(image, [self.size, self.size]))
        results['img'] = view
        results['img_shape'] = view.shape[:2]
        results['view_boxes'] = (box * scale)[None].astype(np.float32)
        results['view_flips'] = np.zeros(1, dtype=bool)
        results['num_globals'] = 1
        return results

    def _box(self, resized: tuple[int, int]) -> np.ndarray:
        """x0, y0, x1, y1 of the crop in pixels of the resized image."""
        corner = [
            # torchvision pads small sides first, with the odd pixel behind
            -((self.size - side) // 2) if side < self.size
            else round((side - self.size) / 2) for side in resized
        ]
        return np.array([*corner, *(c + self.size for c in corner)],
                        dtype=np.float64)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(size={self.size}, '
                f'resize={self.resize}, '
                f'interpolation={self.interpolation.value!r})')
