"""Files that composites are made of, and who may use which."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from mimplug.draws.bits import fold, hash_name
from mimplug.errors import ConfigError, check_choice, check_range

from ..assets import asset_path
from ..transforms.load import DECODE_ERRORS, UnreadableImageError

ASSET = 'asset:'
SUFFIXES = ('.png', '.jpg', '.jpeg', '.webp')
SPLITS = ('train', 'test')
# Alpha above it belongs to the object.
SOLID = 127
# flowers1, flowers-2, flower10; not the running numbers of cameras
NUMBER = re.compile(r'[-_ ]?(?<!\d)\d{1,2}$')


@dataclass(frozen=True, order=True)
class Source:
    """One image file.

    Args:
        name (str): Path below its folder, with slashes.
        path (str): Where it is.
    """
    name: str
    path: str

    @property
    def category(self) -> str:
        """First folder of the name; 'object' for files at the top."""
        parts = PurePosixPath(self.name).parts
        return parts[0] if len(parts) > 1 else 'object'

    @property
    def family(self) -> str:
        """The name without a last number: pictures of one family are alike."""
        path = PurePosixPath(self.name)
        return NUMBER.sub('', path.stem) or path.stem


def list_images(folder: str) -> list[Source]:
    """All image files below a folder, sorted by name.

    Args:
        folder (str): Path, or 'asset:NAME' of ``tools/fetch_assets.py``.

    Returns:
        list[Source]: At least one.

    Raises:
        ConfigError: No such folder, or no image in it.
        AssetError: The asset has not been fetched; says how.
    """
    if folder.startswith(ASSET):
        root = asset_path(folder.removeprefix(ASSET))
    else:
        root = Path(folder).expanduser()
    if not root.is_dir():
        raise ConfigError(
            f'{folder!r}: no such folder; allowed is a folder of images or '
            f"'{ASSET}NAME' of tools/fetch_assets.py")
    found = [Source(path.relative_to(root).as_posix(), str(path))
             for path in root.rglob('*')
             if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not found:
        raise ConfigError(
            f'{folder!r}: no image below it ({", ".join(SUFFIXES)})')
    return sorted(found)


def split_sources(sources: Sequence[Source], split: str, *,
                  test_share: float = 0.25, whole_folders: bool = False
                  ) -> list[Source]:
    """The files of one side; the same file is never on both.

    In each category families are taken in an order that a hash of their name
    gives, and go to the test side as long as they fit into its share of the
    files. Files of other categories do not change it.

    Args:
        sources (Sequence[Source]): All files.
        split (str): 'train' or 'test'.
        test_share (float): Share of the files of a category for the test
            side, in (0, 1). Each side gets at least one family of a category
            that has two. Defaults to 0.25.
        whole_folders (bool): Whether folders are families too, and no
            categories: for photographs of one place in one folder. Defaults
            to False.

    Returns:
        list[Source]: Sorted by name.

    Raises:
        ConfigError: A setting is wrong, or the side would be empty.
    """
    check_choice('split', split, SPLITS)
    check_range('test_share', test_share, 1e-3, 1 - 1e-3)
    groups: dict[str, dict[str, list[Source]]] = {}
    for one in sorted(sources):
        group, family = one.category, one.family
        if whole_folders:
            group, family = '', one.category if '/' in one.name else family
        groups.setdefault(group, {}).setdefault(family, []).append(one)
    chosen: list[Source] = []
    for families in groups.values():
        if len(families) == 1:
            # nothing to tell alike from different
            families = {one.name: [one] for one, in zip(*families.values())}
        test = _test_families(families, test_share)
        chosen += [one for name, files in families.items() for one in files
                   if (name in test) == (split == 'test')]
    if not chosen:
        raise ConfigError(
            f'split={split!r}: none of {len(sources)} files is left for it; '
            'at least two files are needed')
    return sorted(chosen)


def _test_families(families: Mapping[str, Sequence[Source]], share: float
                   ) -> set[str]:
    """Families of one category that are kept for the test."""
    order = sorted(families, key=lambda name: fold(0, hash_name(name)))
    room = sum(len(files) for files in families.values()) * share
    test: set[str] = set()
    for name in order:
        if len(families[name]) <= room:
            test.add(name)
            room -= len(families[name])
    if not test and len(order) > 1:
        # too few files for the share: the smallest family
        test.add(min(order, key=lambda name: len(families[name])))
    return test


@lru_cache(maxsize=1024)
def read_cutout(path: str, limit: int) -> Image.Image:
    """A cut-out, trimmed to its object.

    Args:
        path (str): An image with an alpha channel.
        limit (int): Larger ones are shrunk to this longer side, so that a
            process can keep many.

    Returns:
        Image: RGBA.

    Raises:
        UnreadableImageError: It cannot be read, or nothing in it is solid.
    """
    image = _open(path, 'RGBA')
    box = image.getchannel('A').point(
        lambda alpha: 255 if alpha > SOLID else 0).getbbox()
    if box is None:
        raise UnreadableImageError(
            f'cannot use {path}: nothing in it has an alpha above {SOLID}')
    image = image.crop(box)
    image.thumbnail((limit, limit), Image.Resampling.LANCZOS)
    return image


@lru_cache(maxsize=64)
def read_background(path: str, limit: int) -> Image.Image:
    """A photograph.

    Args:
        path (str): An image.
        limit (int): Larger ones are shrunk to this shorter side.

    Returns:
        Image: RGB.

    Raises:
        UnreadableImageError: It cannot be read.
    """
    image = _open(path, 'RGB')
    factor = limit / min(image.size)
    if factor < 1:
        image = image.resize(
            (round(image.width * factor), round(image.height * factor)),
            Image.Resampling.LANCZOS)
    return image


def _open(path: str, mode: str) -> Image.Image:
    """A decoded image."""
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except DECODE_ERRORS as error:
        raise UnreadableImageError(
            f'cannot read {path}: {type(error).__name__}: {error}') from error


def has_alpha(image: Image.Image) -> bool:
    """Whether anything is see-through, as it must be around a cut-out."""
    return bool((np.asarray(image.getchannel('A')) <= SOLID).any())
