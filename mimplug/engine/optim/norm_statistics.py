"""Running statistics of batch norms, taken back after a skipped step."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class NormStatistics:
    r"""Keeps what batch norms knew before a step, for the case it is skipped.

    A forward pass that meets a NaN writes it into running means and
    variances, where every later average keeps it: training goes on, but the
    network in evaluation mode is lost. With the flag f of a step,

    .. math:: s \leftarrow f ? s : s_{before}

    decided on the device, for all statistics at once.

    Args:
        model (nn.Module): All its batch norms count, also those of a teacher.
    """

    def __init__(self, model: nn.Module) -> None:
        norms = [part for part in model.modules()
                 if isinstance(part, _BatchNorm)]
        names = ('running_mean', 'running_var', 'num_batches_tracked')
        self._buffers: dict[torch.dtype, list[Tensor]] = {}
        for norm in norms:
            for name in names:
                buffer = getattr(norm, name, None)
                if buffer is not None:
                    self._buffers.setdefault(buffer.dtype, []).append(buffer)
        self._kept: dict[torch.dtype, Tensor] = {}

    def __len__(self) -> int:
        """Number of buffers that are kept."""
        return sum(map(len, self._buffers.values()))

    @torch.no_grad()
    def keep(self) -> None:
        """Remembers the statistics; before the first pass of a step."""
        self._kept = {dtype: _flat(buffers)
                      for dtype, buffers in self._buffers.items()}

    @torch.no_grad()
    def settle(self, finite: Tensor) -> None:
        """Puts them back where the step was skipped.

        Args:
            finite (Tensor): Bool scalar on the device; False: skipped.
        """
        for dtype, kept in self._kept.items():
            buffers = self._buffers[dtype]
            settled = torch.where(finite.to(kept.device), _flat(buffers),
                                  kept)
            parts = settled.split([buffer.numel() for buffer in buffers])
            torch._foreach_copy_(buffers, [
                part.view_as(buffer)
                for part, buffer in zip(parts, buffers)])
        self._kept = {}


def _flat(buffers: list[Tensor]) -> Tensor:
    """A copy of all values in one row."""
    return torch.cat([buffer.flatten() for buffer in buffers])
