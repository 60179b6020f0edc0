"""Weights of a small ViT."""
from __future__ import annotations

import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.models import VisionTransformer
from toy_vit import SIZES


@pytest.fixture(autouse=True)
def _scope():
    """The scope of every config."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


@pytest.fixture
def weights():
    """Random numbers for the small ViT."""
    torch.manual_seed(3)
    return {name: torch.randn_like(value) for name, value
            in VisionTransformer(**SIZES).state_dict().items()}
