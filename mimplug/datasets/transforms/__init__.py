"""Transforms on keyed draws: decode, multi-crop, evaluation view, packing."""
from .center_view import CenterView
from .functional import ViewParams, render_view
from .load import LoadView, UnreadableImageError
from .mugs_multi_crop import MugsMultiCrop
from .multi_crop import CropSpec, MultiCrop
from .pack import PackViews
from .strong import StrongSpec

__all__ = [
    'CenterView', 'CropSpec', 'LoadView', 'MugsMultiCrop', 'MultiCrop',
    'PackViews', 'StrongSpec', 'UnreadableImageError', 'ViewParams',
    'render_view'
]
