"""Number of threads of a run."""
from __future__ import annotations

import pytest
import torch

from mimplug.engine.hooks import ThreadsHook
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


def test_sets_the_number_and_refuses_none():
    before = torch.get_num_threads()
    try:
        ThreadsHook(1).before_run(None)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(ConfigError, match='num_threads=0'):
        ThreadsHook(0)
