"""Makes ``toy_images`` importable below this folder; default scope."""
from __future__ import annotations

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def _mmpretrain_scope():
    """Bare names are MMPretrain's, as in our configs."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield
