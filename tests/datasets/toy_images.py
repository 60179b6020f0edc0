"""Small data sets and images for the tests of this folder."""
from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from mmengine.dataset import BaseDataset
from PIL import Image


def picture(width: int = 50, height: int = 40, seed: int = 0) -> np.ndarray:
    """A smooth RGB picture (height, width, 3) with some noise."""
    rng = np.random.RandomState(seed)
    small = rng.randint(0, 256, (5, 6, 3), dtype=np.uint8)
    large = np.asarray(Image.fromarray(small).resize(
        (width, height), Image.Resampling.BICUBIC)).astype(int)
    noise = rng.randint(-12, 13, large.shape)
    return (large + noise).clip(0, 255).astype(np.uint8)


def write_folder(root: Path, classes: int = 2, images: int = 3,
                 suffix: str = '.png') -> Path:
    """An ImageFolder of pictures of different sizes."""
    for label in range(classes):
        folder = root / f'class_{label}'
        folder.mkdir(parents=True)
        for number in range(images):
            seed = label * images + number
            Image.fromarray(picture(50 + seed, 40 + 2 * seed, seed)).save(
                folder / f'{number}{suffix}')
    return root


class ArrayDataset(BaseDataset):
    """Pictures in memory, each with a label."""

    METAINFO: ClassVar = dict(classes=('a', 'b', 'c'))

    def __init__(self, size: int = 10, labels=None, **kwargs):
        self.size = size
        self.labels = labels
        super().__init__(serialize_data=False, **kwargs)

    def load_data_list(self):
        labels = (range(self.size) if self.labels is None else self.labels)
        return [dict(img=picture(seed=i), gt_label=label)
                for i, label in zip(range(self.size), labels)]
