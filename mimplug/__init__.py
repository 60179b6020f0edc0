"""Masked self-supervised pre-training as parts for MMEngine."""
from .version import __version__

__all__ = ['__version__']
