"""Optimiser wrapper: precision, accumulation, clipping, freezing, guard."""
from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.optim import OptimWrapper as _OptimWrapper
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from mimplug.errors import ConfigError, check_choice
from mimplug.registry import OPTIM_WRAPPERS

from .gradients import clip_grads_, poison, tensor_norms
from .guard import guarded_step, keeps_host_counts

DTYPES = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
# Which kernels run is this run's choice, not that of a checkpoint.
KERNELS = ('fused', 'foreach', 'capturable', 'differentiable')


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(_OptimWrapper):
    """MMEngine's wrapper with what self-distillation recipes need.

    One class for every precision, on CPU and GPU: ``--amp`` sets ``dtype`` and
    keeps clipping and freezing. Nothing is read back from the device.

    Order of :meth:`step`: unscale, norm of all gradients, is it finite?, clip,
    drop gradients of frozen parameters, optimiser step, scaler update (the
    reference's order).

    A step whose loss or gradient is not finite is skipped on the device:
    parameters and optimiser state stay as they are (:func:`guarded_step`).
    This covers the steps that a float16 scaler would skip, and a broken
    micro-batch spoils its whole accumulation group. A broken loss poisons its
    gradients, so the reduction over ranks makes all of them skip; only where
    all gradients of a rank are cut off (a dead layer) that tells the others
    nothing, while a single process skips there as well.
    ``TeacherHook`` keeps teacher and centres still in such a step (the
    reference moves them), and schedules count it back at the next log point.

    Attributes:
        finite (Tensor): Bool scalar: was the latest step made?
        skipped (Tensor): int64 scalar: steps skipped since the beginning.
        consecutive (Tensor): int64 scalar: steps skipped in a row until now.
        grad_norm (Tensor | None): Norm before clipping of the latest step.
        known_skipped (int): ``skipped`` as of the latest log point; moved by
            ``mimplug.RuntimeInfoHook``, saved and restored.
        known_consecutive (int): The same of ``consecutive``.

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
        if keeps_host_counts(optimizer):
            warnings.warn(
                f'{type(optimizer).__name__} without fused=True counts steps '
                'on the host: every step waits for the device once, to know '
                'whether it was finite', stacklevel=2)
        self.dtype = dtype
        device = optimizer.param_groups[0]['params'][0].device
        self.scaler = (GradScaler(device.type, init_scale=loss_scale)
                       if dtype == 'float16' else None)
        self.frozen: list[nn.Parameter] = []
        self.grad_norm: Tensor | None = None
        self._poison: Tensor | None = None
        self.finite = torch.ones((), dtype=torch.bool, device=device)
        self.skipped = torch.zeros((), dtype=torch.int64, device=device)
        self.consecutive = torch.zeros_like(self.skipped)
        self.known_skipped = self.known_consecutive = 0

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
        factor = poison(loss)
        self._poison = (factor if self._poison is None
                        else self._poison * factor)
        loss = loss * factor
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        super().backward(loss, **kwargs)

    def step(self, **kwargs: Any) -> None:
        """Unscales, judges, clips, drops frozen gradients and updates."""
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        grads = [
            p.grad for group in self.optimizer.param_groups
            for p in group['params'] if p.grad is not None
        ]
        if grads:
            self._judge(grads)
        self._poison = None
        for parameter in self.frozen:
            parameter.grad = None
        guarded_step(self.optimizer, self.finite, **kwargs)
        if self.scaler is not None:
            self.scaler.update()

    @torch.no_grad()
    def _judge(self, grads: list[Tensor]) -> None:
        """Norm, flag and counters of this step; clips."""
        norms = tensor_norms(grads)
        self.grad_norm = norms.norm()
        if self._poison is not None and get_world_size() == 1:
            # a dead layer can keep the poison from every gradient; of
            # several ranks each knows its own loss only
            self.grad_norm = self.grad_norm * self._poison
        self.finite = self.grad_norm.isfinite()
        bad = (~self.finite).to(self.skipped)
        # new tensors: a state_dict taken earlier keeps its numbers
        self.skipped = self.skipped.to(bad.device) + bad
        self.consecutive = (self.consecutive.to(bad.device) + 1) * bad
        if self.scaler is not None:  # one decision for both
            for found in self.scaler._found_inf_per_device(
                    self.optimizer).values():
                found.copy_(bad)
        if self.clip is not None:
            clip_grads_(grads, self.clip['max_norm'],
                        per_tensor=self.clip['per_tensor'], norms=norms)

    def note_counts(self, skipped: int, consecutive: int) -> None:
        """Tells the host what the counters said at a log point.

        Schedules move by it, so it must happen at the same iterations in a
        resumed run.

        Args:
            skipped (int): Value of :attr:`skipped`.
            consecutive (int): Value of :attr:`consecutive`.
        """
        self.known_skipped, self.known_consecutive = skipped, consecutive

    def state_dict(self) -> dict:
        """State of the optimiser, of the guard and of the float16 scaler."""
        state: dict = super().state_dict()
        state['guard'] = dict(
            skipped=self.skipped, consecutive=self.consecutive,
            known_skipped=self.known_skipped)
        if self.scaler is not None:
            state['loss_scaler'] = self.scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Restores :meth:`state_dict`, also of a run in other precision."""
        state_dict = dict(state_dict)
        scaler = state_dict.pop('loss_scaler', None)
        if scaler is not None and self.scaler is not None:
            self.scaler.load_state_dict(scaler)
        guard = state_dict.pop('guard', None)
        if guard is not None:
            self.skipped = guard['skipped'].to(self.skipped)
            self.consecutive = guard['consecutive'].to(self.consecutive)
            self.known_skipped = int(guard['known_skipped'])
        state_dict['param_groups'] = [
            {**theirs, **{key: mine[key] for key in KERNELS if key in mine}}
            for mine, theirs in zip(self.optimizer.param_groups,
                                    state_dict['param_groups'])
        ] + state_dict['param_groups'][len(self.optimizer.param_groups):]
        super().load_state_dict(state_dict)
