"""A keyed data set whose views lie ready, for benchmarks of what follows."""
from __future__ import annotations

from typing import Any, ClassVar

import torch
from mmengine.registry import DATASETS
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset


@DATASETS.register_module(force=True)
class ReadyViews(Dataset):
    """Two views of 32 px and two of 16 px, the same for every key.

    Args:
        size (int): Number of samples.
    """

    metainfo: ClassVar[dict] = {}

    def __init__(self, size: int) -> None:
        self.size = size
        generator = torch.Generator().manual_seed(0)
        self.views = [
            torch.randint(0, 256, (3, side, side), dtype=torch.uint8,
                          generator=generator) for side in (32, 32, 16, 16)]

    def full_init(self) -> None:
        """Nothing to read."""

    def bind_seed(self, seed: int) -> None:
        """Nothing to draw."""

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, key: tuple[int, int, int]) -> dict[str, Any]:
        return dict(inputs=self.views, data_samples=DataSample(
            metainfo=dict(sample_key=key)))
