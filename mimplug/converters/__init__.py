"""Weights of other programs: strict reading, renames, initialisation.

A new method adds ``keys_<method>.py``, registers its :class:`KeyMap` there
and is imported here.
"""
from .key_maps import (
    KeyMap,
    Renames,
    get_key_map,
    key_map_names,
    register_key_map,
    rename_all,
)
from .keys_ibot import IBOT, TIMM
from .keys_moco import MMPRETRAIN_MOCO, MOCO
from .keys_mugs import MUGS
from .keys_timm_backbone import TIMM_BACKBONE
from .matching import LoadReport, compare, load_strict
from .pretrained import Pretrained
from .reader import read_file, select_state, strip_ddp, take_prefix

__all__ = [
    'IBOT',
    'MMPRETRAIN_MOCO',
    'MOCO',
    'MUGS',
    'TIMM',
    'TIMM_BACKBONE',
    'KeyMap',
    'LoadReport',
    'Pretrained',
    'Renames',
    'compare',
    'get_key_map',
    'key_map_names',
    'load_strict',
    'read_file',
    'register_key_map',
    'rename_all',
    'select_state',
    'strip_ddp',
    'take_prefix',
]
