"""Names of any timm network <-> MMPretrain's ``TIMMBackbone`` around it.

So weights of timm are loaded by path, strictly and without a hub::

    backbone=dict(
        type='TIMMBackbone', model_name='tf_efficientnet_lite0',
        init_cfg=dict(type='mimplug.Pretrained', checkpoint='lite0.pth',
                      converter='timm_backbone',
                      allow_unexpected=('timm_model.classifier.*', )))
"""
from __future__ import annotations

from .key_maps import KeyMap, Renames, register_key_map, rename_all
from .reader import Tensors

_NAMES = Renames([('{rest}', 'timm_model.{rest}')])


def read_timm_backbone(tensors: Tensors, keep_unknown: bool = False
                       ) -> Tensors:
    """State dict of a timm network in the names of ``TIMMBackbone``.

    Args:
        tensors (dict[str, Tensor]): Of the timm network.
        keep_unknown (bool): Has no effect: every name has a rule.

    Returns:
        dict[str, Tensor]: The same tensors.
    """
    return rename_all(tensors, _NAMES.to_ours, keep_unknown=keep_unknown)


def write_timm_backbone(tensors: Tensors, keep_unknown: bool = False
                        ) -> Tensors:
    """The way back of :func:`read_timm_backbone`.

    Args:
        tensors (dict[str, Tensor]): Of a ``TIMMBackbone``.
        keep_unknown (bool): Leave other names as they are.

    Returns:
        dict[str, Tensor]: The same tensors.

    Raises:
        CheckpointError: Another name, unless kept.
    """
    return rename_all(tensors, _NAMES.to_theirs, keep_unknown=keep_unknown)


TIMM_BACKBONE = register_key_map(KeyMap(
    'timm_backbone', read_timm_backbone, write_timm_backbone))
