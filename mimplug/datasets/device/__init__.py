"""Multi-crop on the device: the loader decodes, everything else is batched.

1. ``transform.py``: at the place of ``MultiCrop``; keeps the decoded image.
2. ``plan.py`` draws boxes, flips and colours of a whole batch (``draws.py``),
   ``packing.py`` puts images of all sizes into one buffer; both in the worker.
3. ``preprocessor.py``: one copy to the device, then ``render.py``:
   ``resample.py``, ``colour.py``, ``blur.py``.
"""
from .packing import pack_images
from .plan import CropPlan, RawImage, ViewGroup
from .preprocessor import DeviceMultiCropPreprocessor
from .render import render_group
from .transform import PlanMultiCrop

__all__ = [
    'CropPlan', 'DeviceMultiCropPreprocessor', 'PlanMultiCrop', 'RawImage',
    'ViewGroup', 'pack_images', 'render_group'
]
