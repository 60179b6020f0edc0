"""Composites as files: images and a COCO annotation."""
from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mimplug.errors import check_choice

if TYPE_CHECKING:
    from .dataset import Composites

FORMATS = ('png', 'jpg')
JPEG_QUALITY = 95


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """A mask as COCO's uncompressed run lengths.

    Args:
        mask (ndarray): (H, W) bool.

    Returns:
        dict: ``size`` [H, W] and ``counts``: lengths of the runs of False,
        True, False, … down the columns; the first may be 0.

    Example:
        >>> encode_rle(np.array([[True, False], [True, True]]))
        {'size': [2, 2], 'counts': [0, 2, 1, 1]}
    """
    flat = np.asarray(mask, dtype=bool).T.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    counts = [0, *runs] if flat.size and flat[0] else runs
    return dict(size=list(mask.shape), counts=counts)


def coco_json(infos: Iterable[Mapping[str, Any]], classes: Iterable[str], *,
              suffix: str = 'png') -> dict[str, Any]:
    """The COCO annotation of composites; all ids count from 1.

    Args:
        infos (Iterable[Mapping]): As ``Composites.get_data_info`` gives them.
        classes (Iterable[str]): Names of the classes, in label order.
        suffix (str): Of the file names. Defaults to 'png'.

    Returns:
        dict: ``images``, ``annotations``, ``categories``.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, info in enumerate(infos, 1):
        images.append(dict(
            id=number, file_name=file_name(info, suffix),
            height=info['height'], width=info['width']))
        for instance in info['instances']:
            x0, y0, x1, y1 = instance['bbox']
            annotations.append(dict(
                id=len(annotations) + 1, image_id=number,
                category_id=instance['bbox_label'] + 1, iscrowd=0,
                bbox=[x0, y0, x1 - x0, y1 - y0], area=instance['area'],
                segmentation=instance['mask']))
    categories = [dict(id=number, name=name)
                  for number, name in enumerate(classes, 1)]
    return dict(images=images, annotations=annotations,
                categories=categories)


def file_name(info: Mapping[str, Any], suffix: str) -> str:
    """Name of the image file of one sample."""
    return f'{info["sample_idx"]:06d}.{suffix}'


def write_coco(dataset: Composites, folder: str | Path, *,
               suffix: str = 'png', semantic: bool = False) -> Path:
    """Writes images and ``annotations.json``; the latter comes last.

    Args:
        dataset (Composites): What to write.
        folder (str | Path): Gets ``images/`` and, if asked, ``semantic/``.
        suffix (str): 'png' (exact) or 'jpg' (smaller). Defaults to 'png'.
        semantic (bool): Whether to write the class of each pixel, 0 for the
            background, as 8-bit PNG files. Defaults to False.

    Returns:
        Path: The annotation file.

    Raises:
        ConfigError: Another ``suffix``.
    """
    check_choice('suffix', suffix, FORMATS)
    folder = Path(folder)
    annotation = coco_json(
        _written(dataset, folder, suffix, semantic),
        dataset.metainfo['classes'], suffix=suffix)
    path = folder / 'annotations.json'
    scratch = path.with_suffix('.json.tmp')
    scratch.write_text(json.dumps(annotation) + '\n')
    os.replace(scratch, path)
    return path


def _written(dataset: Composites, folder: Path, suffix: str,
             semantic: bool) -> Iterator[dict[str, Any]]:
    """The samples one after the other, each after its files are written."""
    for part in ('images', 'semantic') if semantic else ('images', ):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = folder / 'images' / file_name(info, suffix)
        Image.fromarray(info['img']).save(path, quality=JPEG_QUALITY)
        if semantic:
            Image.fromarray(info['gt_seg_map']).save(
                folder / 'semantic' / file_name(info, 'png'))
        yield info
