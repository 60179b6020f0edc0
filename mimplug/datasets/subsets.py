"""A part of each class, taken in the order of the data set."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from mimplug.errors import ConfigError, check_range
from mimplug.registry import DATASETS

from .keyed import build_dataset


def take_per_class(labels: np.ndarray, *, per_class: int | None = None,
                   share: float | None = None, offset: int = 0) -> np.ndarray:
    """Indices of the first samples of each class, in the original order.

    Of a class with n samples the places ``offset`` … ``offset + k - 1`` are
    taken, k = ``per_class`` or floor(``share`` n).

    Args:
        labels (np.ndarray): Class of each sample, int (N,).
        per_class (int, optional): Samples of each class.
        share (float, optional): Share of each class, in (0, 1].
        offset (int): Samples of each class to leave out first. Defaults to 0.

    Returns:
        np.ndarray: Increasing indices, int64.

    Raises:
        ConfigError: A class has too few samples.
    """
    order = np.argsort(labels, kind='stable')
    classes, starts, counts = np.unique(
        labels[order], return_index=True, return_counts=True)
    if per_class is not None:
        wanted = np.full_like(counts, per_class)
    else:
        # the small term keeps e.g. 0.29 x 100 at 29
        wanted = np.floor(counts * float(share or 0) + 1e-9).astype(int)
    short = offset + wanted > counts
    if short.any() or not wanted.all():
        bad = np.flatnonzero(short | (wanted == 0))[0]
        raise ConfigError(
            f'class {classes[bad]} has {counts[bad]} samples, which does not '
            f'allow {wanted[bad]} from place {offset} on')
    place = np.empty(len(labels), dtype=np.int64)
    place[order] = np.arange(len(labels)) - np.repeat(starts, counts)
    group = np.searchsorted(classes, labels)
    return np.flatnonzero((place >= offset)
                          & (place < offset + wanted[group]))


def list_lines(dataset: Any, root: Path) -> Iterator[str]:
    """Lines ``path label`` of a data set of files, one a sample.

    MMPretrain's ``ImageNet`` and ``CustomDataset`` read a file of them as
    their ``ann_file``.

    Args:
        dataset (Dataset): With ``get_data_info``, such as
            :class:`ClassSubset`.
        root (Path): Folder to which the paths are made relative.

    Raises:
        ConfigError: A sample lies elsewhere.
    """
    root = root.absolute()
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        path = Path(info['img_path']).absolute()
        if root not in path.parents:
            raise ConfigError(f'{path} does not lie in {root}')
        yield f'{path.relative_to(root).as_posix()} {info["gt_label"]}'


@DATASETS.register_module()
class ClassSubset(Dataset):
    """The first samples of each class of a data set.

    The first by file name, as with sorted folders (torchvision's
    ``ImageFolder``), also if a list file names them in another order; the
    first by place where samples are no files. The order of the data set
    stays. On ImageNet-1k ``per_class=260`` is AttMask's 20 % setting and
    ``share=0.2`` that of the masks thesis; classes with fewer than 1,300
    images make the difference.

    Args:
        dataset (dict | Dataset): A labelled data set.
        per_class (int, optional): Samples of each class. Give this or
            ``share``.
        share (float, optional): Share of each class, rounded down.
        offset (int): Samples of each class to leave out first. Defaults to 0.
        num_classes (int, optional): Number of classes that must be there.
            Defaults to None: any.
        lazy_init (bool): Whether to put off reading the annotations.
            Defaults to False.

    Raises:
        ConfigError: A setting is wrong, a class is too small, labels are
            missing, or the number of classes is not ``num_classes``.

    Source: ``ImageFolderInstance`` and the argument ``subset`` of
    gkakogeorgiou/attmask; the rule in words of
    DimitrisReppas/MIM_on_self-supervision, whose list of files is not
    public (rounding down is ours).
    """

    def __init__(self, dataset: Mapping[str, Any] | Dataset, *,
                 per_class: int | None = None, share: float | None = None,
                 offset: int = 0, num_classes: int | None = None,
                 lazy_init: bool = False) -> None:
        if (per_class is None) == (share is None):
            raise ConfigError(
                f'ClassSubset: per_class={per_class}, share={share}: give '
                'exactly one of them')
        if per_class is not None:
            check_range('per_class', per_class, 1, math.inf)
        if share is not None and not 0 < share <= 1:
            raise ConfigError(f'share={share}: allowed is (0, 1]')
        check_range('offset', offset, 0, math.inf)
        self.dataset = build_dataset(dataset)
        self.per_class, self.share, self.offset = per_class, share, offset
        self.num_classes = num_classes
        self._indices: np.ndarray | None = None
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Reads the annotations and picks the samples, once."""
        _ = self.indices

    @property
    def indices(self) -> np.ndarray:
        """Places of the picked samples in the whole data set, int64."""
        if self._indices is None:
            self.dataset.full_init()
            self._indices = self._pick()
        return self._indices

    def _pick(self) -> np.ndarray:
        """The picked places, after the checks that need the labels."""
        labels, order = self._labels()
        found = len(np.unique(labels))
        if self.num_classes is not None and found != self.num_classes:
            raise ConfigError(
                f'ClassSubset: {found} classes in '
                f'{type(self.dataset).__name__}, but num_classes='
                f'{self.num_classes}')
        picked = take_per_class(
            labels[order], per_class=self.per_class, share=self.share,
            offset=self.offset)
        return np.sort(order[picked])

    def _labels(self) -> tuple[np.ndarray, np.ndarray]:
        """Class of every sample, and the samples in order of their names."""
        labels, names = [], []
        try:
            for index in range(len(self.dataset)):
                info = self.dataset.get_data_info(index)
                labels.append(int(info['gt_label']))
                names.append(info.get('img_path', ''))
        except (KeyError, TypeError) as error:
            raise ConfigError(
                'ClassSubset needs one label a sample, but '
                f'{type(self.dataset).__name__} has none or several') \
                from error
        order = sorted(range(len(names)), key=names.__getitem__)
        return np.array(labels, int), np.array(order, int)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Meta information of the whole data set."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        """Number of samples that were picked."""
        return len(self.indices)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The annotation of one picked sample.

        Args:
            index (int): Place in the subset.

        Returns:
            dict: What the whole data set knows about it.
        """
        return self.dataset.get_data_info(int(self.indices[index]))

    def get_cat_ids(self, index: int) -> list[int]:
        """The class of one picked sample, as a list of one.

        Args:
            index (int): Place in the subset.

        Returns:
            list[int]: The label number.
        """
        return [int(self.get_data_info(index)['gt_label'])]

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The annotation: a pipeline is the business of ``KeyedDataset``."""
        return self.get_data_info(index)
