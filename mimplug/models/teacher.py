"""Exponential moving average of a student, as a plain module."""
from __future__ import annotations

import torch
from mmengine.model import BaseModule
from torch import nn

from mimplug.errors import ConfigError, check_range


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

    def _shared(
        self, student: nn.Module
    ) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Parameters that both own under one name: (teacher's, student's)."""
        mine, theirs = [], []
        for part in self.part_names:
            source = dict(getattr(student, part).named_parameters())
            for name, value in getattr(self, part).named_parameters():
                if name in source:
                    mine.append(value)
                    theirs.append(source[name])
        return mine, theirs

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
    def update(self, student: nn.Module, momentum: float) -> None:
        """One step of the moving average, in fused kernels.

        Args:
            student (nn.Module): As in :meth:`copy_from`.
            momentum (float): m in [0, 1], the share that is kept.

        Raises:
            ConfigError: ``momentum`` out of range.
        """
        check_range('momentum', momentum, 0.0, 1.0)
        mine, theirs = self._shared(student)
        torch._foreach_lerp_(mine, theirs, 1.0 - momentum)
