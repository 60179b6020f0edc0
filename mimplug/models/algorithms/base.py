"""What every algorithm with keyed draws and a teacher shares."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine import dist
from mmpretrain.models import BaseSelfSupervisor
from torch import Tensor, nn

from mimplug.draws import Draws, HashDraws, SampleKeys
from mimplug.schedules import Progress

from ..backbones import DepthDraws
from ..teacher import Teacher


def fill_teacher(model: nn.Module, keys: Any) -> None:
    """Load hook: a file without a teacher gives the student's weights.

    Args:
        model (nn.Module): A :class:`KeyedSelfSupervisor`.
        keys (NamedTuple): ``missing_keys`` of the load.
    """
    assert isinstance(model, KeyedSelfSupervisor)
    missing = set(keys.missing_keys)
    # torch makes up counters of batch norms for files without versions
    absent = {name for name in model.state_dict()
              if name.startswith('teacher.')
              and not name.endswith('num_batches_tracked')} <= missing
    model.teacher_loaded = not absent
    if absent:
        model.reset_teacher()


class KeyedSelfSupervisor(BaseSelfSupervisor):
    """Self-supervised algorithm that knows its position in the run.

    :class:`mimplug.TeacherHook` calls :meth:`set_progress` before each
    iteration and :meth:`step_end` after each optimiser step. The teacher
    starts as the student: after initialisation, and after loading a file
    that holds no teacher.

    Args:
        draws_seed (int, optional): Seed of masks and stochastic depth. None:
            the hook fills in the seed of the run.
        **kwargs: Arguments of ``BaseSelfSupervisor``; the data preprocessor
            defaults to ``mimplug.MultiViewDataPreprocessor``.
    """

    teacher: Teacher

    def __init__(self, *, draws_seed: int | None = None,
                 **kwargs: Any) -> None:
        kwargs['data_preprocessor'] = kwargs.get('data_preprocessor') or dict(
            type='mimplug.MultiViewDataPreprocessor')
        super().__init__(**kwargs)
        self.draws_seed = draws_seed
        self._progress: Progress | None = None
        self.teacher_loaded = False
        self.register_load_state_dict_post_hook(fill_teacher)

    def init_weights(self) -> None:
        """Initialises the student; the teacher then equals it.

        Unless ``init_cfg`` loads a file that holds a teacher of its own.
        """
        super().init_weights()
        if not self.teacher_loaded:
            self.reset_teacher()

    def reset_teacher(self) -> None:
        """Copies the student into the teacher."""
        self.teacher.copy_from(self)

    @property
    def progress(self) -> Progress:
        """Where the run stands.

        Raises:
            RuntimeError: Nobody has said so yet.
        """
        if self._progress is None:
            raise RuntimeError(
                'the model does not know its position: add '
                "dict(type='mimplug.TeacherHook') to custom_hooks, or call "
                'set_progress(Progress(…))')
        return self._progress

    def set_progress(self, progress: Progress) -> None:
        """Tells where the run stands; called before each iteration.

        Args:
            progress (Progress): Optimiser steps and epochs.
        """
        self._progress = progress

    def step_end(self, momentum: float,
                 finite: Tensor | None = None) -> None:
        """Moves what moves with the optimiser; called after each step.

        Args:
            momentum (float): Share kept from the teacher, in [0, 1].
            finite (Tensor, optional): Bool scalar on the device, equal on
                all ranks: False if the step was skipped, and then nothing
                may move. None: the step was made.
        """
        raise NotImplementedError

    def draws(self, data_samples: Sequence | None, num_views: int,
              batch_size: int) -> Draws:
        """Random numbers of this batch, keyed by sample and view.

        A test may put another function in its place to replay draws.

        Args:
            data_samples (Sequence[DataSample], optional): Carry
                ``sample_key``; without one the position in the batch counts.
            num_views (int): V, leading views.
            batch_size (int): B on this rank.

        Returns:
            Draws: For V * B rows.
        """
        step, rank = self.progress.step, dist.get_rank()
        if data_samples and hasattr(data_samples[0], 'sample_key'):
            keys = SampleKeys.from_data_samples(data_samples)
        else:
            keys = SampleKeys.arange(batch_size, step, rank)
        return HashDraws(self.draws_seed or 0, step, keys,
                         views=range(num_views), rank=rank)

    def drop_path_draws(self, inputs: Sequence[Tensor],
                        data_samples: Sequence | None,
                        rows: Sequence[int]) -> list[DepthDraws]:
        """Draws of the student's stochastic depth, for each of its passes.

        Args:
            inputs (Sequence[Tensor]): V views of B images.
            data_samples (Sequence[DataSample], optional): B samples.
            rows (Sequence[int]): Rows of each pass, V * B in all.

        Returns:
            list: (rows, num_layers, 2) in [0, 1) each; on the host (ndarray)
            where the backbone skips what is dropped, else on the device. The
            bits are the same. None where nothing is dropped.
        """
        if not self.training or self.backbone.drop_path_rates[-1] == 0:
            return [None for _ in rows]
        draws = self.draws(data_samples, len(inputs), inputs[0].shape[0])
        table = ('drop_path', self.backbone.num_layers, 2)
        if self.backbone.skips_on(inputs[0].device):
            return list(np.split(draws.host_uniform(*table),
                                 np.cumsum(rows)[:-1]))
        uniform = draws.uniform(*table, device=inputs[0].device)
        return list(torch.split(uniform, list(rows)))
