"""Data: keyed samplers and data sets, views, batches, assets."""
from .collate import view_collate
from .composites import Composites
from .device import DeviceMultiCropPreprocessor, PlanMultiCrop
from .embedded import EmbeddedFashionMNIST, embedded_root
from .imagenet100 import ImageNet100
from .keyed import KeyedDataset
from .preprocessor import MultiViewDataPreprocessor
from .samplers import KeyedInfiniteSampler, KeyedSampler
from .subsets import ClassSubset
from .transforms import (
    CenterView,
    CropSpec,
    LoadView,
    MugsMultiCrop,
    MultiCrop,
    PackViews,
    UnreadableImageError,
)

__all__ = [
    'CenterView', 'ClassSubset', 'Composites', 'CropSpec',
    'DeviceMultiCropPreprocessor',
    'EmbeddedFashionMNIST', 'ImageNet100', 'KeyedDataset',
    'KeyedInfiniteSampler', 'KeyedSampler', 'LoadView', 'MugsMultiCrop',
    'MultiCrop', 'MultiViewDataPreprocessor',
    'PackViews', 'PlanMultiCrop', 'UnreadableImageError', 'embedded_root',
    'view_collate'
]
