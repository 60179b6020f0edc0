"""What to put into the hidden places of an image."""
from mimplug.masking.fills.base import Fill, build_fill, pixel_mask
from mimplug.masking.fills.blur import BlurFill
from mimplug.masking.fills.constant import ConstantFill, MeanFill
from mimplug.masking.fills.mix import MixFill, partner_index
from mimplug.masking.fills.noise import HighPassFill, NoiseFill

__all__ = [
    'BlurFill', 'ConstantFill', 'Fill', 'HighPassFill', 'MeanFill', 'MixFill',
    'NoiseFill', 'build_fill', 'partner_index', 'pixel_mask',
]
