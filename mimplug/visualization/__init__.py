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
)
from .mask_rows import (
    example_generators,
    generator_classes,
    mask_rows,
    render_masks,
)
from .networks import backbone_of
from .photos import find_photos, load_photos
from .picture_hook import MaskPictureHook
from .siamese_rows import is_siamese, siamese_gallery

__all__ = [
    'GalleryRow', 'MaskInputs', 'MaskPictureHook', 'NetworkInputs',
    'StandInInputs', 'backbone_of', 'example_generators', 'find_photos',
    'generator_classes', 'is_siamese', 'load_photos', 'mask_rows',
    'overlay_heat', 'overlay_hidden', 'render_gallery', 'render_mask_grid',
    'render_masks', 'siamese_gallery', 'to_pictures'
]
