"""Exponential moving average of a student, as a plain module."""
from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_range


def local_shards(tensors: list[Tensor]) -> list[Tensor]:
    """What this process holds of tensors that may be split over processes.

    Args:
        tensors (list[Tensor]): Ordinary tensors, or distributed ones.

    Returns:
        list[Tensor]: Ordinary tensors that share their memory.
    """
    return [tensor.to_local() if hasattr(tensor, 'to_local') else tensor
            for tensor in tensors]


def owned_parameters(
        module: nn.Module) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Where each parameter is kept: (full name, owner's table, key)."""
    for name, _ in module.named_parameters():
        path, _, key = name.rpartition('.')
        yield name, module.get_submodule(path)._parameters, key


class Pairs:
    """Parameters that teacher and student own under one name.

    Looking them up by name every step costs more than a small model's
    average. So they are kept, and each step only asks whether the owners
    still hold the same tensors: a parameter that was replaced is noticed.
    (Parts that were swapped as a whole are not; make a new teacher then.)

    Args:
        teacher (Teacher): Names the parts.
        student (nn.Module): Owns parts of these names.
    """

    def __init__(self, teacher: Teacher, student: nn.Module) -> None:
        self.student = weakref.ref(student)
        self.mine: list[Tensor] = []
        self.theirs: list[Tensor] = []
        self.places: list[tuple[dict[str, Any], str, Tensor]] = []
        for part in teacher.part_names:
            source = {name: (table, key) for name, table, key
                      in owned_parameters(getattr(student, part))}
            for name, table, key in owned_parameters(getattr(teacher, part)):
                if name in source:
                    self._add(self.mine, table, key)
                    self._add(self.theirs, *source[name])

    def _add(self, tensors: list[Tensor], table: dict[str, Any],
             key: str) -> None:
        """One parameter and its place."""
        tensors.append(table[key])
        self.places.append((table, key, table[key]))

    def valid(self, student: nn.Module) -> bool:
        """Whether they still are this student's and its teacher's."""
        return self.student() is student and all(
            table.get(key) is tensor for table, key, tensor in self.places)


def move_towards(mine: list[Tensor], theirs: list[Tensor],
                 weight: Tensor) -> None:
    r"""Linear interpolation with one weight that is known to the device only.

    .. math:: x \leftarrow x + w (y - x)

    On CUDA ``_foreach_lerp_`` launches a kernel for each tensor if the weight
    is a tensor, these operations a few for all. On a CPU it is the faster
    one, for it reads everything once.

    Args:
        mine (list[Tensor]): x, any shapes, one type; changed in place.
        theirs (list[Tensor]): y, of the same shapes and type.
        weight (Tensor): w in [0, 1], scalar of this type; for 0 every x
            keeps its value if y is finite.
    """
    change = torch._foreach_sub(theirs, mine)
    torch._foreach_mul_(change, weight)
    torch._foreach_add_(mine, change)


class Teacher(BaseModule):
    r"""Frozen copy whose parameters follow the student's.

    .. math:: \theta_t \leftarrow m\,\theta_t + (1 - m)\,\theta_s

    for every parameter that both own under the same name (so not the
    student's mask token). Buffers are the teacher's own. Nothing is copied at
    the first update; :meth:`copy_from` does that, once, after the student has
    its initial weights.

    Args:
        **parts (nn.Module): The networks, e.g. ``backbone`` and ``head``;
            named as in the student.

    Raises:
        ConfigError: No parts.

    Source: ``train_one_epoch`` in ``main_attmask.py`` of gkakogeorgiou/attmask
    (EMA over ``params_q``/``params_k``).
    """

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        if not parts:
            raise ConfigError('a teacher needs at least one network')
        self.part_names = tuple(parts)
        for name, part in parts.items():
            self.add_module(name, part)
        self.requires_grad_(False)
        self._pairs: Pairs | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the pairs: a copy has parameters of its own."""
        return {**self.__dict__, '_pairs': None}

    @torch.no_grad()
    def copy_from(self, student: nn.Module) -> None:
        """Takes over parameters and buffers of the student, by name.

        Args:
            student (nn.Module): Owns one sub-module per part, of that name.

        Raises:
            ConfigError: A teacher parameter that the student does not have,
                or of another shape.
        """
        for part in self.part_names:
            source = getattr(student, part).state_dict()
            for name, value in getattr(self, part).state_dict().items():
                if name not in source or source[name].shape != value.shape:
                    raise ConfigError(
                        f'teacher {part}.{name} {tuple(value.shape)} has no '
                        'equal in the student')
                value.copy_(source[name])

    @torch.no_grad()
    def update(self, student: nn.Module, momentum: float,
               finite: Tensor | None = None) -> None:
        """One step of the moving average, in fused kernels.

        Args:
            student (nn.Module): As in :meth:`copy_from`; its parameters are
                finite, as a skipped optimiser step leaves them.
            momentum (float): m in [0, 1], the share that is kept.
            finite (Tensor, optional): Bool scalar on the device; where it is
                False everything is kept, bit for bit. None: as True.

        Raises:
            ConfigError: ``momentum`` out of range.
        """
        check_range('momentum', momentum, 0.0, 1.0)
        if self._pairs is None or not self._pairs.valid(student):
            self._pairs = Pairs(self, student)
        # shards of one parameter lie alike in both: no communication
        mine = local_shards(self._pairs.mine)
        theirs = local_shards(self._pairs.theirs)
        if finite is None:
            torch._foreach_lerp_(mine, theirs, 1.0 - momentum)
            return
        # x + 0 (y - x) is x: the weight decides, on the device
        kinds = {tensor.dtype for tensor in mine}
        weights = {dtype: finite.to(dtype) * (1.0 - momentum)
                   for dtype in kinds}
        if finite.is_cuda and len(kinds) == 1:
            move_towards(mine, theirs, weights[kinds.pop()])
        else:
            torch._foreach_lerp_(mine, theirs, [
                weights[tensor.dtype] for tensor in mine])
