"""Contexts for generators that may ask for anything."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from registered import GRID


@pytest.fixture
def make(make_context):
    """A context with everything that any generator may ask for."""

    def build(**kwargs):
        context = make_context(**{'grid': GRID, 'attention': True, **kwargs})
        noise = torch.Generator().manual_seed(2)
        rows, length = context.rows, context.length
        return replace(
            context, features=torch.randn(rows, length, 8, generator=noise),
            difficulty=torch.randn(rows, length, generator=noise),
            images=torch.randn(rows, 3, 16, 16, generator=noise),
            saliency=torch.rand(rows, 16, 16, generator=noise))

    return build
