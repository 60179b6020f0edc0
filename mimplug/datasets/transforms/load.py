"""Decoding: from a file or an array to one RGB uint8 image."""
from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from PIL import Image, ImageFile

from mimplug.errors import ConfigError, MimplugError
from mimplug.registry import TRANSFORMS

# What Pillow's readers raise on damaged or foreign bytes.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error,
                 Image.DecompressionBombError)


class UnreadableImageError(MimplugError, OSError):
    """An image file is missing, damaged or of an unknown kind."""


@TRANSFORMS.register_module()
class LoadView(BaseTransform):
    """Decodes an image once, to RGB uint8 (H, W, 3).

    Files are read through MMEngine's file backends; data sets that hold
    their images in memory (``img``: grey (H, W) or RGB (H, W, 3)) pass
    through. Grey, palette, CMYK and transparent images become RGB. The
    orientation tag of cameras is ignored, as in the reference.

    Required keys: ``img_path`` or ``img``. Added keys: ``img``,
    ``ori_shape``, ``img_shape`` (height, width, both after the padding, so
    that view boxes live in one coordinate system).

    Args:
        pad_to (int, optional): Smaller images are padded to this height and
            width, centred, e.g. Fashion-MNIST from 28 to 32. Defaults to
            None: no padding.
        pad_value (int): Grey value of the padding, 0..255. Defaults to 0.
        truncated (bool): Whether images whose file ends early are accepted;
            the missing part is then grey. Defaults to False.
        shrink_to (int, optional): Larger files are read at 1/2, 1/4 or 1/8
            of their size, as long as the shorter side keeps this many pixels;
            a JPEG is then decoded at that size, which saves most of the
            time. ``ori_shape`` is that of the smaller image. Defaults to
            None: the whole image, so that no crop loses detail.
        backend_args (dict, optional): Arguments of the file backend.
            Defaults to None: found from the path.

    Raises:
        UnreadableImageError: Names the file and the reason.
    """

    def __init__(self, *, pad_to: int | None = None, pad_value: int = 0,
                 truncated: bool = False, shrink_to: int | None = None,
                 backend_args: dict | None = None) -> None:
        if pad_to is not None and pad_to < 1:
            raise ConfigError(f'pad_to={pad_to}: allowed is None or >= 1')
        if shrink_to is not None and shrink_to < 1:
            raise ConfigError(
                f'shrink_to={shrink_to}: allowed is None or >= 1')
        self.pad_to = pad_to
        self.pad_value = pad_value
        self.truncated = truncated
        self.shrink_to = shrink_to
        self.backend_args = backend_args

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Replaces ``img`` by the decoded image.

        Args:
            results (dict): One sample.

        Returns:
            dict: The same dict with ``img`` (H, W, 3) uint8, RGB.
        """
        if results.get('img') is not None:
            image = _as_rgb(results['img'])
        else:
            image = self._read(results['img_path'])
        if self.pad_to is not None:
            image = self._pad(image, self.pad_to)
        results['img'] = image
        results['ori_shape'] = results['img_shape'] = image.shape[:2]
        return results

    def _read(self, path: str) -> np.ndarray:
        """Bytes through the file backend, pixels through Pillow."""
        try:
            data = fileio.get(path, backend_args=self.backend_args)
            with _truncated_allowed(self.truncated), \
                    Image.open(io.BytesIO(data)) as image:
                return np.asarray(self._shrunk(image).convert('RGB'))
        except DECODE_ERRORS as error:
            raise UnreadableImageError(
                f'cannot read {path}: {type(error).__name__}: {error}'
            ) from error

    def _shrunk(self, image: Image.Image) -> Image.Image:
        """The image at 1/1 … 1/8 of its size; a JPEG is not yet decoded."""
        if self.shrink_to is None:
            return image
        limit = min(image.size) // self.shrink_to
        factor = max((f for f in (2, 4, 8) if f <= limit), default=1)
        if factor == 1:
            return image
        before = image.size
        image.draft(None, (self.shrink_to, self.shrink_to))
        if image.size != before:
            return image
        return image.convert('RGB').reduce(factor)

    def _pad(self, image: np.ndarray, side: int) -> np.ndarray:
        """Centres the image on a canvas of at least ``side`` x ``side``."""
        rows = max(0, side - image.shape[0])
        columns = max(0, side - image.shape[1])
        if not rows and not columns:
            return image
        border = ((rows // 2, rows - rows // 2),
                  (columns // 2, columns - columns // 2), (0, 0))
        return np.pad(image, border, constant_values=self.pad_value)

    def __repr__(self) -> str:
        return (f'{type(self).__name__}(pad_to={self.pad_to}, '
                f'pad_value={self.pad_value}, truncated={self.truncated}, '
                f'shrink_to={self.shrink_to})')


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """An array of a data set as (H, W, 3) uint8."""
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise ConfigError(
            f'LoadView: the data set gives {image.dtype} images of shape '
            f'{image.shape}; allowed is uint8, (H, W), (H, W, 1) or '
            '(H, W, 3)')
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3 or image.shape[2] not in (1, 3):
        raise ConfigError(
            f'LoadView: the data set gives images of shape {image.shape}; '
            'allowed is (H, W), (H, W, 1) or (H, W, 3)')
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


@contextmanager
def _truncated_allowed(allowed: bool) -> Iterator[None]:
    """Sets Pillow's process-wide switch for one image only."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = allowed
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
