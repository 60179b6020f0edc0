"""The wrapper that gives any MMPretrain data set keyed draws."""
from __future__ import annotations

import logging
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from mmengine.dataset import Compose
from mmengine.logging import print_log
from mmpretrain.registry import DATASETS as STOCK_DATASETS
from mmpretrain.registry import TRANSFORMS as STOCK_TRANSFORMS
from torch.utils.data import Dataset

from mimplug.draws import KeyedRandom
from mimplug.errors import ConfigError, check_range
from mimplug.registry import DATASETS

from .samplers import Key
from .transforms.load import UnreadableImageError


class Annotated(Protocol):
    """What is asked of a wrapped data set; all of MMEngine's have it."""

    @property
    def metainfo(self) -> dict[str, Any]:
        """Meta information, e.g. the names of the classes."""

    def full_init(self) -> None:
        """Reads the annotations; a second call does nothing."""

    def get_data_info(self, index: int) -> dict[str, Any]:
        """A fresh annotation of one sample."""

    def get_cat_ids(self, index: int) -> list[int]:
        """The classes of one sample."""

    def __len__(self) -> int:
        """Number of samples."""


@DATASETS.register_module()
class KeyedDataset(Dataset):
    """Runs a pipeline with keyed draws over any MMEngine data set.

    ``dataset[(epoch, index, repeat)]`` takes the annotation
    ``get_data_info(index)``, adds ``sample_key`` and ``draws`` (the
    :class:`mimplug.draws.KeyedRandom` of the key) and runs the pipeline. A
    plain index, as stock samplers give it, means the key (0, index, 0): every
    epoch the same crops. Where transforms draw, a warning says so once.

    An image that cannot be read, or for which a loader returns None, is
    replaced by another one that the same key draws, with a warning that
    names the file; give ``max_retries=0`` where that must be an error, as in
    an evaluation.

    Args:
        dataset (dict | Dataset): The data set, without a pipeline of its
            own: ImageNet, CustomDataset (labelled folders, or
            ``with_label=False``), FashionMNIST, :class:`mimplug.ClassSubset`,
            a wrapper of MMEngine …
        pipeline (Sequence): Transforms, the last of which packs the sample.
        seed (int, optional): Seed of the draws. Defaults to None: that of
            the sampler, which is the run's; 0 without a keyed sampler.
        max_retries (int): Replacements tried for one sample. Defaults to 10.
        lazy_init (bool): Whether to put off reading the annotations.
            Defaults to False.

    Raises:
        ConfigError: The data set brings a pipeline that would be ignored.
    """

    def __init__(self, dataset: Mapping[str, Any] | Dataset,
                 pipeline: Sequence[Any] = (), *, seed: int | None = None,
                 max_retries: int = 10, lazy_init: bool = False) -> None:
        check_range('max_retries', max_retries, 0, 1000)
        self.dataset = build_dataset(dataset)
        own = getattr(getattr(self.dataset, 'pipeline', None),
                      'transforms', ())
        if own:
            raise ConfigError(
                f'KeyedDataset: {type(self.dataset).__name__} has a pipeline '
                f'of its own ({len(own)} transforms), which would not run: '
                'move it into the pipeline of KeyedDataset')
        self.pipeline = Compose([
            STOCK_TRANSFORMS.build(step) if isinstance(step, Mapping)
            else step for step in pipeline])
        self.seed = seed
        self._expects_keys = True
        self.max_retries = max_retries
        self.num_unreadable = 0
        if not lazy_init:
            self.full_init()

    def full_init(self) -> None:
        """Reads the annotations; a second call does nothing."""
        self.dataset.full_init()

    def bind_seed(self, seed: int) -> None:
        """Takes the sampler's seed unless one was given at construction.

        Args:
            seed (int): Seed of the run.
        """
        self._expects_keys = False  # they come
        if self.seed is None:
            self.seed = seed

    @property
    def metainfo(self) -> dict[str, Any]:
        """Meta information of the wrapped data set."""
        return self.dataset.metainfo

    def get_data_info(self, index: int) -> dict[str, Any]:
        """The annotation of one sample, before any transform.

        Args:
            index (int): Place in the data set.

        Returns:
            dict: What the wrapped data set knows about it.
        """
        return self.dataset.get_data_info(index)

    def get_cat_ids(self, index: int) -> list[int]:
        """Classes of one sample.

        Args:
            index (int): Place in the data set.

        Returns:
            list[int]: Label numbers.
        """
        return self.dataset.get_cat_ids(index)

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.dataset)

    def __getitem__(self, key: Key | int) -> Any:
        """The packed sample of a key or of a plain index.

        Args:
            key (tuple[int, int, int] | int): (epoch, index, repeat), or an
                index.

        Returns:
            Any: What the last transform gives.

        Raises:
            UnreadableImageError: No readable image was found.
        """
        epoch, index, repeat = self._parse(key)
        draws = KeyedRandom(self.seed or 0, epoch, index, repeat)
        source = index
        for attempt in range(self.max_retries + 1):
            error = None
            try:
                sample = self._run(source, (epoch, index, repeat), draws)
            except UnreadableImageError as caught:
                sample, error = None, caught
            if sample is not None:
                return sample
            if attempt < self.max_retries:
                source = self._replace(source, draws, attempt, error)
        raise UnreadableImageError(
            f'no readable image for index {index} after {self.max_retries} '
            f'replacement(s); the last one: {self._describe(source, error)}')

    def _parse(self, key: Key | int) -> Key:
        """Epoch, non-negative index and repeat of what a sampler gave."""
        if not isinstance(key, tuple):
            self._warn_of_frozen_draws()
            key = (0, operator.index(key), 0)
        epoch, index, repeat = key
        size = len(self)
        if not -size <= index < size:
            raise IndexError(f'index {index}: the data set has {size} samples')
        return epoch, index % size, repeat

    def _warn_of_frozen_draws(self) -> None:
        """Says once that a stock sampler repeats the draws every epoch."""
        drawing = [type(step).__name__ for step in self.pipeline.transforms
                   if getattr(step, 'uses_draws', False)]
        if drawing and self._expects_keys:
            self._expects_keys = False  # said once
            print_log(
                f'KeyedDataset gets plain indices: {", ".join(drawing)} will '
                'repeat the same draws in every epoch. For training use '
                "sampler=dict(type='mimplug.KeyedSampler', shuffle=True)",
                logger='current', level=logging.WARNING)

    def _run(self, source: int, key: Key, draws: KeyedRandom) -> Any:
        """The pipeline over one annotation."""
        info = self.get_data_info(source)
        info.update(sample_idx=source, sample_key=key, draws=draws)
        return self.pipeline(info)

    def _replace(self, source: int, draws: KeyedRandom, attempt: int,
                 error: Exception | None) -> int:
        """Warns about a bad image and draws the index of another."""
        self.num_unreadable += 1
        other = draws.integers(
            'replacement', 0, len(self) - 1, n=attempt)
        print_log(
            f'{self._describe(source, error)}; sample {source} is replaced '
            f'by {other} ({self.num_unreadable} bad image(s) so far in this '
            'process)', logger='current', level=logging.WARNING)
        return other

    def _describe(self, source: int, error: Exception | None) -> str:
        """Why a sample could not be used, with its file."""
        if error is not None:
            return str(error)
        path = self.get_data_info(source).get('img_path', '(no file)')
        return f'the pipeline returned None for {path}'

    def __repr__(self) -> str:
        return (f'{type(self).__name__}({len(self)} samples of '
                f'{type(self.dataset).__name__}, seed={self.seed}, '
                f'pipeline={self.pipeline})')


def build_dataset(dataset: Mapping[str, Any] | Dataset) -> Annotated:
    """A data set from its settings, or the data set itself.

    Args:
        dataset (dict | Dataset): Settings (bare MMPretrain names and
            ``mimplug.X`` both work) or an object.

    Returns:
        Annotated: The data set.

    Raises:
        ConfigError: It lacks one of these.
    """
    if isinstance(dataset, Mapping):
        dataset = STOCK_DATASETS.build(dataset)
    missing = [name for name in ('full_init', 'get_data_info', '__len__')
               if not hasattr(dataset, name)]
    if missing:
        raise ConfigError(
            f'{type(dataset).__name__} has no {", ".join(missing)}: a data '
            'set of MMEngine or MMPretrain is needed')
    return cast(Annotated, dataset)
