"""Transforms on keyed draws: decode, multi-crop, evaluation view, packing."""
from .center_view import CenterView
from .functional import ViewParams, render_view
from .load import LoadView, UnreadableImageError
from .multi_crop import CropSpec, MultiCrop
from .pack import PackViews

__all__ = [
    'CenterView', 'CropSpec', 'LoadView', 'MultiCrop', 'PackViews',
    'UnreadableImageError', 'ViewParams', 'render_view'
]
