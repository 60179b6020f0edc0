"""Cut-outs on photographs: images whose object masks are exact."""
from .coco import coco_json, encode_rle, write_coco
from .dataset import Composites
from .scene import Scene, SceneRecipe, compose
from .sources import Source, list_images, split_sources

__all__ = [
    'Composites', 'Scene', 'SceneRecipe', 'Source', 'coco_json', 'compose',
    'encode_rle', 'list_images', 'split_sources', 'write_coco'
]
