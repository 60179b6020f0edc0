"""A number that all ranks agree on without waiting for the device."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as torch_dist
from mmengine import dist

from mimplug.errors import ConfigError


class Agreement:
    """The largest number that any rank has said.

    What ranks say travels over the processors (gloo) while they compute, and
    is known at the next call. Every rank must make the same calls. A single
    process has its answer at once.

    Raises:
        ConfigError: The processes cannot reach each other by gloo.
    """

    def __init__(self) -> None:
        self.group: Any = None
        if dist.get_world_size() > 1:
            try:
                self.group = torch_dist.new_group(backend='gloo')
            except RuntimeError as error:
                raise ConfigError(
                    'SignalHook: the processes cannot reach each other by '
                    f'gloo ({error}); name the network in '
                    'GLOO_SOCKET_IFNAME, or switch the hook off by '
                    'default_hooks.signals.requeue=[] and '
                    'default_hooks.signals.stop=[]') from error
        # one memory, seen as an array here and as a tensor by gloo: reading
        # an array is no read of a tensor
        self._number = np.zeros(1, dtype=np.int64)
        self._tensor = torch.from_numpy(self._number)
        self._work: Any = None

    def exchange(self, mine: int) -> int:
        """Sends a number and receives the answer to the previous one.

        Args:
            mine (int): What this rank says, >= 0.

        Returns:
            int: The maximum over the ranks of the call before, 0 in the
            first; alone: ``mine``.
        """
        if self.group is None:
            return mine
        answer = self.finish()
        self._number[0] = mine
        self._work = torch_dist.all_reduce(
            self._tensor, torch_dist.ReduceOp.MAX, self.group, async_op=True)
        return answer

    def finish(self) -> int:
        """Waits for what is still under way.

        Returns:
            int: The answer, 0 if nothing was.
        """
        if self._work is None:
            return 0
        self._work.wait()
        self._work = None
        return int(self._number[0])

    def close(self) -> None:
        """Waits for what is under way and takes the line down."""
        self.finish()
        if self.group is not None:
            torch_dist.destroy_process_group(self.group)
            self.group = None
