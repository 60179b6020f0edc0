"""SGD with layer-wise rates, as DINO and Mugs offer it."""
from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mimplug.errors import ConfigError, check_range
from mimplug.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    r"""Momentum SGD whose steps are in proportion to the weights.

    .. math::
        d = g + \lambda w, \quad
        \mu \leftarrow m \mu + \eta \frac{\lVert w \rVert}{\lVert d \rVert} d,
        \quad w \leftarrow w - lr\, \mu

    One-dimensional tensors have neither decay nor factor:
    :math:`\mu \leftarrow m \mu + g`. Nor has a tensor a factor of which
    weights or update are zero. MMPretrain's and timm's LARS put
    :math:`\lVert g \rVert + \lambda \lVert w \rVert` below the fraction, and
    the former waits for the device at every tensor; this one does not.

    Args:
        params (Iterable): Parameters or groups of them.
        lr (float): >= 0. Defaults to 0.
        weight_decay (float): :math:`\lambda` >= 0. Defaults to 0.
        momentum (float): m in [0, 1). Defaults to 0.9.
        eta (float): :math:`\eta` >= 0. Defaults to 0.001.

    Raises:
        ConfigError: A value out of range.

    Source: ``LARS`` in ``src/optimizer.py`` of sail-sg/mugs.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.0,
                 weight_decay: float = 0.0, *, momentum: float = 0.9,
                 eta: float = 0.001) -> None:
        values = dict(lr=lr, weight_decay=weight_decay, momentum=momentum,
                      eta=eta)
        for name, value in values.items():
            check_range(name, value, 0.0, float('inf'))
        if momentum >= 1:
            raise ConfigError(f'momentum={momentum!r}: allowed is [0, 1)')
        super().__init__(params, values)

    @torch.no_grad()
    def step(  # type: ignore[override]
            self, closure: Callable[[], Tensor] | None = None
            ) -> Tensor | None:
        """Makes one step.

        Args:
            closure (Callable, optional): Computes the loss once more.

        Returns:
            Tensor | None: What it returned.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group['params'] if p.grad is not None]
            if params:
                self._step_group(params, group)
        return loss

    def _step_group(self, params: list[Tensor], group: dict[str, Any]
                    ) -> None:
        """One step of parameters with equal settings."""
        updates = [p.grad for p in params if p.grad is not None]
        wide = [i for i, p in enumerate(params) if p.ndim != 1]
        if wide:
            weights = [params[i] for i in wide]
            decayed = list(torch._foreach_add(
                [updates[i] for i in wide], weights,
                alpha=group['weight_decay']))
            _scale_(decayed, weights, group['eta'])
            for i, update in zip(wide, decayed):
                updates[i] = update
        buffers = [self._buffer(p) for p in params]
        torch._foreach_mul_(buffers, group['momentum'])
        torch._foreach_add_(buffers, updates)
        torch._foreach_add_(params, buffers, alpha=-group['lr'])

    def _buffer(self, parameter: Tensor) -> Tensor:
        """Momentum of a parameter; zeros at first."""
        state = self.state[parameter]
        if 'momentum_buffer' not in state:
            state['momentum_buffer'] = torch.zeros_like(parameter)
        buffer: Tensor = state['momentum_buffer']
        return buffer


def _scale_(updates: list[Tensor], weights: list[Tensor],
            eta: float) -> None:
    """Gives each update its layer-wise factor, in place."""
    lengths = torch.stack(torch._foreach_norm(weights))
    moves = torch.stack(torch._foreach_norm(updates))
    usable = (lengths > 0) & (moves > 0)
    factors = torch.where(usable, eta * lengths / moves, 1.0)
    torch._foreach_mul_(updates, list(factors.unbind()))
