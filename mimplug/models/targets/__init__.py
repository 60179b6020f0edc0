"""Where the objects are: formulas and frozen networks that give saliency."""
from .scda import largest_component, scda_foreground, scda_map
from .spectral_residual import spectral_residual

__all__ = [
    'largest_component', 'scda_foreground', 'scda_map', 'spectral_residual'
]
