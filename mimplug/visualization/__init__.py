"""From data to pictures; nothing here trains."""
from .gallery import GalleryRow, render_gallery
from .mask_grid import (
    overlay_heat,
    overlay_hidden,
    render_mask_grid,
    to_pictures,
)
from .mask_inputs import (
    MaskInputs,
    NetworkInputs,
    StandInInputs,
    backbone_of,
)
from .mask_rows import (
    example_generators,
    generator_classes,
    mask_rows,
    render_masks,
)
from .photos import find_photos, load_photos
from .picture_hook import MaskPictureHook

__all__ = [
    'GalleryRow', 'MaskInputs', 'MaskPictureHook', 'NetworkInputs',
    'StandInInputs', 'backbone_of', 'example_generators', 'find_photos',
    'generator_classes', 'load_photos', 'mask_rows', 'overlay_heat',
    'overlay_hidden', 'render_gallery', 'render_mask_grid', 'render_masks',
    'to_pictures'
]
