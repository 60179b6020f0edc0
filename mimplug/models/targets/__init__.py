"""Where the objects are: formulas, frozen networks, stored maps.

Beside them the filter that images go through before every encoder.
"""
from .base import SaliencyTarget, build_saliency
from .cached_saliency import CachedSaliency, SaliencyWriter
from .input_filter import HighPass, build_input_filter
from .localiser import SCDA
from .onnx_saliency import OnnxSaliency
from .scda import largest_component, scda_foreground, scda_map
from .spectral_residual import SpectralResidual, spectral_residual

__all__ = [
    'SCDA', 'CachedSaliency', 'HighPass', 'OnnxSaliency', 'SaliencyTarget',
    'SaliencyWriter', 'SpectralResidual', 'build_input_filter',
    'build_saliency', 'largest_component', 'scda_foreground', 'scda_map',
    'spectral_residual'
]
