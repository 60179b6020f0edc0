"""Settings of the three supervisions of Mugs, and what samples tell it."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

import numpy as np
import torch
from mmpretrain.registry import MODELS as BUILD
from torch import Tensor, nn

from mimplug.draws import to_device
from mimplug.errors import ConfigError, check_choice, check_range

T = TypeVar('T', bound='InstanceTerm | GroupTerm')


@dataclass(frozen=True, kw_only=True)
class InstanceTerm:
    """InfoNCE between CLS tokens of one image.

    Args:
        head (Mapping): Changes to ``mimplug.ProjectorPredictorHead``.
        queue (int): Embeddings of the teacher that are kept, >= 1.
            Defaults to 65536.
        temperature (float): Of InfoNCE, > 0. Defaults to 0.2.
        weight (float): In the sum, >= 0; 0: no term, head and queue.
            Defaults to 1.
    """
    head: Mapping[str, Any] = field(default_factory=dict)
    queue: int = 65536
    temperature: float = 0.2
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range('weight', self.weight, 0.0, float('inf'))
        if self.queue < 1:
            raise ConfigError(f'queue={self.queue!r}: allowed is >= 1')


@dataclass(frozen=True, kw_only=True)
class LocalGroupTerm(InstanceTerm):
    """InfoNCE between an image and its neighbours.

    Args:
        memory (int): Images remembered, K >= 1. Defaults to 65536.
        neighbours (int): k, 1 <= k <= K. Defaults to 8.
        shared_memory (bool): The student searches among the teacher's
            features and stores none of its own. Defaults to False.
        legacy_pointer (bool): Memories move their pointer twice, as
            released: rows are left that are never written.
            Defaults to False.
        **kwargs: Arguments of :class:`InstanceTerm`.
    """
    memory: int = 65536
    neighbours: int = 8
    shared_memory: bool = False
    legacy_pointer: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.memory < 1:
            raise ConfigError(f'memory={self.memory!r}: allowed is >= 1')
        if not 1 <= self.neighbours <= self.memory:
            raise ConfigError(
                f'neighbours={self.neighbours!r}: allowed is [1, '
                f'{self.memory}], for the memory holds {self.memory} images')


@dataclass(frozen=True, kw_only=True)
class GroupTerm:
    """Clustering of CLS tokens over prototypes.

    Args:
        head (Mapping): Changes to ``mimplug.PrototypeHead``.
        teacher_temperature (Mapping): Arguments of
            :class:`~mimplug.schedules.LinearThenConstant`, by epoch.
        student_temperature (float): > 0. Defaults to 0.1.
        center_momentum (float): In [0, 1]. Defaults to 0.9.
        weight (float): In the sum, >= 0; 0: no term and head.
            Defaults to 1.
    """
    head: Mapping[str, Any] = field(default_factory=dict)
    teacher_temperature: Mapping[str, Any] = field(
        default_factory=lambda: dict(start=0.04, final=0.07,
                                     warmup_epochs=30))
    student_temperature: float = 0.1
    center_momentum: float = 0.9
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_range('weight', self.weight, 0.0, float('inf'))
        if self.head.get('shared', True) is not True:
            raise ConfigError(
                f'group.head: shared={self.head["shared"]}: there is no '
                'patch term that would train a second prototype layer')


def read_term(kind: type[T], name: str, config: Mapping[str, Any] | None
              ) -> T:
    """Settings of a supervision.

    Args:
        kind (type): The class of its settings.
        name (str): What the algorithm calls it, for messages.
        config (Mapping, optional): Its arguments.

    Raises:
        ConfigError: An unknown argument or a value out of range.
    """
    for key in config or {}:
        check_choice(f'{name} key', key, [part.name for part in fields(kind)])
    return kind(**(config or {}))


def term_factors(weights: Mapping[str, float],
                 legacy_scale: bool) -> dict[str, float]:
    r"""What each term is multiplied by.

    .. math:: w_i / \sum_j w_j, \quad \text{released: } 1 / \sum_j w_j

    so that equal weights give the mean of the terms.

    Args:
        weights (Mapping[str, float]): Name to weight, >= 0.
        legacy_scale (bool): As released, where weights only divide.

    Returns:
        dict[str, float]: Of the terms whose weight is not 0.

    Raises:
        ConfigError: All weights are 0.

    Source: ``train_one_epoch`` in ``main.py`` of sail-sg/mugs.
    """
    total = sum(weights.values())
    if not total > 0:
        raise ConfigError(f'weights {dict(weights)}: one must be > 0')
    return {name: (1.0 if legacy_scale else weight) / total
            for name, weight in weights.items() if weight > 0}


def build_heads(name: str, term: InstanceTerm | GroupTerm,
                width: int) -> tuple[nn.Module, nn.Module]:
    """Heads of student and teacher.

    Args:
        name (str): Of the term; ``'group'`` has prototypes.
        term (InstanceTerm | GroupTerm): With the changes to the defaults.
        width (int): D, of the backbone.

    Returns:
        tuple[nn.Module, nn.Module]: The teacher's has no predictor.
    """
    kind = 'PrototypeHead' if name == 'group' else 'ProjectorPredictorHead'
    config: dict[str, Any] = {
        'type': f'mimplug.{kind}', 'in_channels': width, **term.head}
    if name == 'group':
        # as published
        config.setdefault('num_prototypes', 65536)
    student = BUILD.build(config)
    copied = {key: value for key, value in config.items()
              if key != 'init_cfg'}  # the teacher copies the student
    if name != 'group':
        copied['with_predictor'] = False
    return student, BUILD.build(copied)


def weak_flags(data_samples: Sequence | None, batch: int,
               device: torch.device) -> Tensor:
    """Which images have weakly augmented student views.

    Args:
        data_samples (Sequence[DataSample], optional): B samples whose meta
            information may hold ``weak``, a bool of the host.
        batch (int): B.
        device (torch.device): Where the flags are needed.

    Returns:
        Tensor: Bool (B,); all True if no sample says anything.

    Raises:
        ValueError: Some samples have the flag and some have not.
    """
    flags = [sample.weak for sample in data_samples or ()
             if 'weak' in sample.all_keys()]
    if not flags:
        return torch.ones(batch, dtype=torch.bool, device=device)
    if len(flags) != batch:
        raise ValueError(
            f'{len(flags)} of {batch} data samples have the flag "weak"; all '
            'must, or none')
    return to_device(np.array(flags, dtype=bool), device)


def labels_of(data_samples: Sequence | None,
              device: torch.device) -> Tensor | None:
    """Class numbers (B,) of the images; None if there are none to be had."""
    if not data_samples or not all(
            'gt_label' in sample and sample.gt_label.numel() == 1
            for sample in data_samples):
        return None
    labels = torch.cat([
        sample.gt_label.reshape(1) for sample in data_samples]).float()
    if device.type == 'cuda' and not labels.is_cuda:
        # from pageable memory even an asynchronous copy may wait
        labels = labels.pin_memory()
    return labels.to(device, non_blocking=True)
