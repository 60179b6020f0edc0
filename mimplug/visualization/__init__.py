"""From data to pictures; nothing here trains."""
from .mask_grid import overlay_heat, overlay_hidden, render_mask_grid
from .picture_hook import MaskPictureHook

__all__ = [
    'MaskPictureHook', 'overlay_heat', 'overlay_hidden', 'render_mask_grid'
]
