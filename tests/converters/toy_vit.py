"""Sizes of a small ViT, and files for it."""
from __future__ import annotations

import torch

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
SIZES = dict(arch=ARCH, img_size=16, patch_size=4)


def save(path, content):
    """Writes a checkpoint and returns its path."""
    torch.save(content, path)
    return str(path)
