"""Sets how many processor cores one operation may use."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook

from mimplug.errors import ConfigError
from mimplug.registry import HOOKS


@HOOKS.register_module()
class ThreadsHook(Hook):
    """Limits the threads of PyTorch's operators on the CPU.

    With small networks the threads of an operator wait for each other longer
    than they work, and beside loader workers or other jobs they lose a
    multiple of the time. A training on CPU is then faster with one.

    Args:
        num_threads (int): Threads an operator, >= 1. Defaults to 1.

    Raises:
        ConfigError: Less than one thread.
    """

    priority = 'VERY_HIGH'

    def __init__(self, num_threads: int = 1) -> None:
        if num_threads < 1:
            raise ConfigError(f'num_threads={num_threads}: must be >= 1')
        self.num_threads = num_threads

    def before_run(self, runner: Any) -> None:
        """Sets the number for this process."""
        torch.set_num_threads(self.num_threads)
