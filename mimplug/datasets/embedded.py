"""Real images that come with the package."""
from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from mmpretrain.datasets import FashionMNIST

from mimplug.errors import check_choice
from mimplug.registry import DATASETS

DATA = Path(__file__).resolve().parents[1] / 'data'


def embedded_root(name: str) -> Path:
    """The folder of a data set that lies inside the package.

    Args:
        name (str): Name of the data set, e.g. 'fashion_mnist_subset'.

    Returns:
        Path: Its folder.

    Raises:
        ConfigError: There is none of this name.
    """
    check_choice('embedded data set', name, sorted(
        path.name for path in DATA.iterdir() if path.is_dir()))
    return DATA / name


@DATASETS.register_module()
class EmbeddedFashionMNIST(FashionMNIST):
    """The first 2,000 training and 1,000 test images of Fashion-MNIST.

    MMPretrain's own class reads them; this one only knows where they are,
    so that a text config can name them. Grey 28 x 28, ten classes.

    Args:
        split (str): 'train' or 'test'. Defaults to 'train'.
        **kwargs: Further arguments of MMPretrain's ``BaseDataset``.

    Raises:
        ConfigError: ``split`` is neither.

    Source: Zalando SE, MIT licence; see the README beside the files.
    """

    def __init__(self, split: str = 'train', **kwargs: Any) -> None:
        check_choice('split', split, ('train', 'test'))
        # the base class chooses its files by test_mode, not by split
        super().__init__(
            data_root=str(embedded_root('fashion_mnist_subset')),
            split=split, test_mode=split == 'test', download=False, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Reads the files without the reader's remark on read-only arrays.

        Returns:
            list[dict]: ``img`` (28, 28) uint8 and ``gt_label`` of each image.
        """
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'The given NumPy array is not')
            infos: list[dict[str, Any]] = super().load_data_list()
        return infos
