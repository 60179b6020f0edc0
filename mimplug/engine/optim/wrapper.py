"""Optimiser wrapper: precision, accumulation, clipping, freezing."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper as _OptimWrapper
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from mimplug.errors import ConfigError, check_choice
from mimplug.registry import OPTIM_WRAPPERS

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}


def clip_grads_(grads: list[Tensor], max_norm: float, *,
                per_tensor: bool) -> Tensor:
    r"""Scales gradients in place so that norms stay below a limit.

    .. math:: g \leftarrow g \cdot \min(1, c / (\lVert g \rVert_2 + 10^{-6}))

    Args:
        grads (list[Tensor]): Gradients, any shapes; at least one.
        max_norm (float): c > 0.
        per_tensor (bool): Each tensor by its own norm (DINO, iBOT, Mugs), or
            all by the norm of their concatenation.

    Returns:
        Tensor: Norm of all gradients together before clipping, scalar on the
        device.

    Source: ``utils.clip_gradients`` of gkakogeorgiou/attmask.
    """
    norms = torch.stack(torch._foreach_norm(grads))
    total: Tensor = norms.norm()
    limit = norms if per_tensor else total.expand_as(norms)
    factors = (max_norm / (limit + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(grads, list(factors.unbind()))
    return total


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(_OptimWrapper):
    """MMEngine's wrapper with what self-distillation recipes need.

    One class for every precision, on CPU and GPU: ``--amp`` sets ``dtype`` and
    keeps clipping and freezing. Nothing is read back from the device.

    Order of :meth:`step`: unscale, clip, drop gradients of frozen parameters,
    optimiser step, scaler update (the reference's order).

    Args:
        optimizer (Optimizer): The optimiser.
        dtype (str, optional): ``'bfloat16'`` or ``'float16'`` for automatic
            mixed precision; float16 adds a gradient scaler. None: float32.
        accumulative_counts (int): Micro-batches an optimiser step, >= 1.
        clip_grad (dict, optional): ``dict(max_norm=3.0, per_tensor=True)``.
            None: no clipping.
        loss_scale (float): First scale of the float16 scaler.
            Defaults to 65536.

    Raises:
        ConfigError: Unknown dtype or clipping argument.
    """

    def __init__(self,
                 optimizer: Optimizer,
                 dtype: str | None = None,
                 accumulative_counts: int = 1,
                 clip_grad: dict | None = None,
                 loss_scale: float = 2.0**16) -> None:
        if accumulative_counts < 1:
            raise ConfigError(
                f'accumulative_counts={accumulative_counts}: must be >= 1')
        super().__init__(optimizer, accumulative_counts=accumulative_counts)
        check_choice('dtype', dtype, [None, *DTYPES])
        self.clip = dict(clip_grad) if clip_grad else None
        if self.clip is not None:
            self.clip.setdefault('per_tensor', True)
            for key in self.clip:
                check_choice('clip_grad key', key, ['max_norm', 'per_tensor'])
            if not self.clip.get('max_norm', 0) > 0:
                raise ConfigError(
                    f'clip_grad={clip_grad}: max_norm must be > 0')
        self.dtype = dtype
        device = optimizer.param_groups[0]['params'][0].device.type
        self.scaler = (GradScaler(device, init_scale=loss_scale)
                       if dtype == 'float16' else None)
        self.frozen: list[nn.Parameter] = []
        self.grad_norm: Tensor | None = None

    def freeze(self, parameters: Iterable[nn.Parameter]) -> None:
        """Drops the gradients of these parameters before every step.

        The optimiser then skips them altogether: no decay, no state.

        Args:
            parameters (Iterable[nn.Parameter]): Replaces the former set;
                empty: nothing is frozen.
        """
        self.frozen = list(parameters)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast of ``dtype``, and no gradient sync inside accumulation."""
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(
                device, DTYPES.get(self.dtype or ''),
                enabled=self.dtype is not None):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Adds the gradient of a (scaled) micro-batch loss."""
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        super().backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Unscales, clips, drops frozen gradients and updates."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        grads = [
            p.grad for group in self.optimizer.param_groups
            for p in group['params'] if p.grad is not None
        ]
        if self.clip is not None and grads:
            self.grad_norm = clip_grads_(grads, self.clip['max_norm'],
                                         per_tensor=self.clip['per_tensor'])
        for parameter in self.frozen:
            parameter.grad = None
        if self.scaler is None:
            self.optimizer.step(**kwargs)
        else:
            self.scaler.step(self.optimizer, **kwargs)
            self.scaler.update()

    def state_dict(self) -> dict:
        """State of the optimiser and of the float16 scaler."""
        state: dict = super().state_dict()
        if self.scaler is not None:
            state['loss_scaler'] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Restores :meth:`state_dict`, also of a run in other precision."""
        state_dict = dict(state_dict)
        scaler = state_dict.pop('loss_scaler', None)
        if scaler is not None and self.scaler is not None:
            self.scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)
