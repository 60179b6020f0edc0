"""Photographs to draw on."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mimplug.datasets import embedded_root
from mimplug.datasets.transforms.load import DECODE_ERRORS
from mimplug.errors import ConfigError

SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.ppm', '.tif',
            '.tiff')


def find_photos(paths: Sequence[str] = (), limit: int | None = None
                ) -> list[Path]:
    """Image files.

    Args:
        paths (Sequence[str]): Files, and folders that are searched. Defaults
            to the photographs inside the package.
        limit (int, optional): Most files to return. Defaults to all.

    Returns:
        list[Path]: At least one; files of a folder sorted.

    Raises:
        ConfigError: No such file, or no image in a folder.
    """
    found: list[Path] = []
    for name in paths or [str(embedded_root('photos'))]:
        path = Path(name).expanduser()
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise ConfigError(f'--images {name}: no such file or folder')
        inside = sorted(one for one in path.rglob('*')
                        if one.suffix.lower() in SUFFIXES)
        if not inside:
            raise ConfigError(
                f'--images {name}: no image below it ({", ".join(SUFFIXES)})')
        found += inside
    return found[:limit]


def load_photos(paths: Sequence[Path], size: tuple[int, int]) -> np.ndarray:
    """Photographs of one size: resized to cover it, the middle kept.

    Args:
        paths (Sequence[Path]): Image files.
        size (tuple[int, int]): Height and width in pixels.

    Returns:
        ndarray: (N, 3, H, W) float32 in [0, 1].

    Raises:
        ConfigError: A file cannot be read.
    """
    return np.stack([_load(path, size) for path in paths])


def _load(path: Path, size: tuple[int, int]) -> np.ndarray:
    """One photograph, (3, H, W)."""
    height, width = size
    try:
        with Image.open(path) as file:
            image = file.convert('RGB')
    except DECODE_ERRORS as error:
        raise ConfigError(f'cannot read {path}: {error}') from error
    factor = max(height / image.height, width / image.width)
    tall, wide = height / factor, width / factor
    left, top = (image.width - wide) / 2, (image.height - tall) / 2
    image = image.resize((width, height), Image.Resampling.LANCZOS,
                         box=(left, top, left + wide, top + tall))
    return np.moveaxis(np.asarray(image, np.float32), -1, 0) / 255
