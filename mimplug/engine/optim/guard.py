"""An optimiser step that happens or not, decided on the device."""
from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer


def skips_on_device(optimizer: Optimizer) -> bool:
    """Whether the optimiser's own kernels can leave everything as it is.

    PyTorch's fused Adam, AdamW and SGD take ``found_inf``, a device scalar
    that float16 scalers use. (Fused Adagrad has no such promise; SGD with
    dampening cannot start its momentum before the first good gradient.)

    Args:
        optimizer (Optimizer): Any.

    Returns:
        bool: True for those.
    """
    return bool(getattr(optimizer, '_step_supports_amp_scaling', False)
                and all(group.get('fused') and not group.get('dampening')
                        for group in optimizer.param_groups))


def keeps_host_counts(optimizer: Optimizer) -> bool:
    """Whether the optimiser counts its steps on the host, beside a device.

    Args:
        optimizer (Optimizer): Any.

    Returns:
        bool: True for Adam and its like on a GPU, unless they are fused or
        capturable.
    """
    return any('capturable' in group and not group['capturable']
               and not group.get('fused')
               and any(p.device.type != 'cpu' for p in group['params'])
               for group in optimizer.param_groups)


@torch.no_grad()
def guarded_step(optimizer: Optimizer, finite: Tensor, **kwargs: Any) -> None:
    """``optimizer.step()`` where ``finite``, else nothing.

    Parameters and state of a skipped step are bit for bit what they were;
    state that the step would have created is zero. Nothing is read back from
    the device, unless the optimiser changes numbers on the host (a Python
    step counter): then ``finite`` is read once a step, with a warning.

    Args:
        optimizer (Optimizer): Any.
        finite (Tensor): Bool scalar on the device of the parameters.
        **kwargs: Arguments of ``optimizer.step``.
    """
    if not skips_on_device(optimizer):
        select_step(optimizer, finite, **kwargs)
        return
    _start_momentum(optimizer)
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    optimizer.grad_scale = None  # type: ignore[attr-defined]
    try:
        optimizer.step(**kwargs)
    finally:
        del optimizer.found_inf  # type: ignore[attr-defined]
        del optimizer.grad_scale  # type: ignore[attr-defined]


def _start_momentum(optimizer: Optimizer) -> None:
    """Zero buffers for fused SGD.

    It would allocate them without values and, when it skips, leave them so;
    and it cannot mix old with missing ones, as after a layer's release.
    """
    if not isinstance(optimizer, SGD):
        return
    for group in optimizer.param_groups:
        for parameter in group['params'] if group['momentum'] else ():
            if parameter.grad is None:
                continue
            state = optimizer.state[parameter]
            if state.get('momentum_buffer') is None:
                state['momentum_buffer'] = torch.zeros_like(parameter)


def select_step(optimizer: Optimizer, finite: Tensor, **kwargs: Any) -> None:
    """Steps, then takes the old values back where ``finite`` is False.

    Works with every optimiser, at the price of a copy of parameters and
    state; fused ones need none.

    Args:
        optimizer (Optimizer): Any.
        finite (Tensor): Bool scalar on the device of the parameters.
        **kwargs: Arguments of ``optimizer.step``.
    """
    before = _Snapshot(optimizer, finite.device)
    optimizer.step(**kwargs)
    for parameter, old in before.values.items():
        _keep(parameter, old, finite)
        state, saved = optimizer.state.get(parameter, {}), before.of(parameter)
        for key, new in state.items():
            if before.on_device(new):
                _keep(new, saved.get(key), finite)
    if before.host_numbers(optimizer) != before.numbers:
        warnings.warn(
            f'{type(optimizer).__name__} counts on the host, so the guard '
            'against non-finite steps reads its flag back in each one; '
            'fused=True or capturable=True, where offered, avoid that',
            stacklevel=2)
        if not bool(finite):
            before.restore_host(optimizer)


def _keep(new: Tensor, old: Tensor | None, finite: Tensor) -> None:
    """``new`` stays where finite; else it gets the old value, or 0."""
    if old is None:
        old = torch.zeros_like(new)
    new.copy_(torch.where(finite, new, old))


class _Snapshot:
    """Everything that a step may change, as it was.

    Args:
        optimizer (Optimizer): Before the step.
        device (torch.device): Where the parameters are.
    """

    def __init__(self, optimizer: Optimizer, device: torch.device) -> None:
        self.device = device
        self.values = {
            p: p.detach().clone() for group in optimizer.param_groups
            for p in group['params'] if p.grad is not None}
        self.states = {
            p: {key: value.clone() if isinstance(value, Tensor) else value
                for key, value in optimizer.state[p].items()}
            for p in self.values if p in optimizer.state}
        self.groups = [dict(group) for group in optimizer.param_groups]
        self.numbers = self.host_numbers(optimizer)

    def of(self, parameter: nn.Parameter | Tensor) -> dict[str, Any]:
        """Old state of a parameter; empty if it had none."""
        return self.states.get(parameter, {})

    def on_device(self, value: Any) -> bool:
        """Whether it is a tensor beside the parameters."""
        return isinstance(value, Tensor) and value.device == self.device

    def host_numbers(self, optimizer: Optimizer) -> list[Any]:
        """Numbers of groups and state that are not on the device."""
        places = [*optimizer.param_groups,
                  *(optimizer.state.get(p, {}) for p in self.values)]
        return [{
            key: float(value) for key, value in place.items()
            if isinstance(value, (int, float)) or (
                isinstance(value, Tensor) and value.numel() == 1
                and not self.on_device(value))
        } for place in places]

    def restore_host(self, optimizer: Optimizer) -> None:
        """Groups and states exactly as they were."""
        for group, old in zip(optimizer.param_groups, self.groups):
            group.clear()
            group.update(old)
        for parameter in self.values:
            if parameter in self.states:
                optimizer.state[parameter] = self.states[parameter]
            else:
                optimizer.state.pop(parameter, None)
