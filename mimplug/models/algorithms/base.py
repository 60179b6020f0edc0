"""What every algorithm with keyed draws and a teacher shares."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine import dist
from mmpretrain.models import BaseSelfSupervisor

from mimplug.draws import Draws, HashDraws, SampleKeys
from mimplug.schedules import Progress


class KeyedSelfSupervisor(BaseSelfSupervisor):
    """Self-supervised algorithm that knows its position in the run.

    :class:`mimplug.TeacherHook` calls :meth:`set_progress` before each
    iteration and :meth:`step_end` after each optimiser step.

    Args:
        draws_seed (int, optional): Seed of masks and stochastic depth. None:
            the hook fills in the seed of the run.
        **kwargs: Arguments of ``BaseSelfSupervisor``; the data preprocessor
            defaults to ``mimplug.MultiViewDataPreprocessor``.
    """

    def __init__(self, *, draws_seed: int | None = None,
                 **kwargs: Any) -> None:
        kwargs['data_preprocessor'] = kwargs.get('data_preprocessor') or dict(
            type='mimplug.MultiViewDataPreprocessor')
        super().__init__(**kwargs)
        self.draws_seed = draws_seed
        self._progress: Progress | None = None

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

    def step_end(self, momentum: float) -> None:
        """Moves what moves with the optimiser; called after each step.

        Args:
            momentum (float): Share kept from the teacher, in [0, 1].
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
