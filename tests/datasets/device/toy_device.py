"""Batches for both pipelines, from the same keys."""
from __future__ import annotations

from functools import cache

from mmpretrain.structures import DataSample
from toy_images import picture

from mimplug.datasets import (
    DeviceMultiCropPreprocessor,
    MultiCrop,
    PackViews,
    PlanMultiCrop,
    view_collate,
)
from mimplug.draws import KeyedRandom

SIZES = ((61, 47), (50, 50), (40, 83), (9, 64), (33, 32))
GLOBALS = dict(size=32)
LOCALS = dict(num=3, size=(16, 20))
# levels themselves instead of normalised values
LEVELS = dict(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


photograph = cache(picture)


def samples(kind, indices, crops=(GLOBALS, LOCALS), sizes=SIZES, seed=0):
    """Packed samples of a transform; the size follows from the index."""
    transform, pack = kind(*crops), PackViews()
    packed = []
    for index in indices:
        results = dict(
            img=photograph(*sizes[index % len(sizes)], seed=index % 50).copy(),
            draws=KeyedRandom(seed, 0, index), sample_key=(0, index, 0))
        packed.append(pack(transform(results)))
    return packed


def cpu_batch(indices, *args, **kwargs):
    """What the CPU pipeline gives: uint8 views and data samples."""
    return view_collate(samples(MultiCrop, indices, *args, **kwargs))


def device_batch(indices, *args, **kwargs):
    """A packed batch of the same samples."""
    return view_collate(samples(PlanMultiCrop, indices, *args, **kwargs))


def levels(batch, device='cpu', **kwargs):
    """Views of a packed batch, not normalised."""
    prepare = DeviceMultiCropPreprocessor(**LEVELS, **kwargs).to(device)
    return prepare(batch, training=True)['inputs']


def sample_boxes(sample: DataSample):
    """Boxes and flips as lists, for comparison."""
    return sample.view_boxes.tolist(), sample.view_flips.tolist()
