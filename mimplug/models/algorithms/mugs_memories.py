"""What Mugs remembers: two queues of embeddings, two memories of features."""
from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mimplug.errors import ConfigError

from ..memory import RingBuffer, gather_rows


class Neighbours(NamedTuple):
    """What :meth:`MugsMemories.search` finds.

    Args:
        rows (Tensor): (M, k, D), constants in the memory's dtype.
        slots (Tensor): int64 (M, k), nearest first.
        cosine (Tensor): (M, k).
    """
    rows: Tensor
    slots: Tensor
    cosine: Tensor


class MicroBatch(NamedTuple):
    """What a micro-batch of B images leaves behind on one rank.

    Args:
        embeddings (Mapping[str, Tensor]): Of each queue the teacher's
            embeddings (G, B, d), view by view.
        teacher (Tensor): Features (B, D) of the teacher's first view; empty
            (B, 0) without local group.
        student (Tensor): Features (B, D) of the student's first view; (B, 0)
            if it has no memory.
        store (Tensor): Bool (B,), whether the student's feature is stored.
        labels (Tensor): (B,) class numbers, -1 if unknown.
        finite (Tensor): Bool scalar; False: forget it all.
    """
    embeddings: Mapping[str, Tensor]
    teacher: Tensor
    student: Tensor
    store: Tensor
    labels: Tensor
    finite: Tensor


class MugsMemories(nn.Module):
    """Queues and feature memories, equal on all ranks.

    A row of a queue is a unit embedding of the teacher, one of a memory the
    mean patch feature of an image. Everything that a micro-batch leaves
    travels in one all-gather, and whoever filters does so afterwards. Rows
    are stored in the order of the global batch, so that what is written over
    does not depend on the number of processes. If the loss of any rank is
    not finite, nothing of that micro-batch is kept.

    Args:
        queues (Mapping[str, tuple[int, int]]): Name to (rows, width) of each
            queue.
        memory (tuple[int, int], optional): (K, D) of the feature memories.
            None: there is no local group.
        shared (bool): The student searches in the teacher's memory and has
            none of its own. Defaults to False.
        legacy_pointer (bool): Feature memories move their pointer twice, as
            released; queues never do. Defaults to False.

    Source: ``Block_mem`` of ``src/model.py`` and ``InfoNCELoss`` of
    ``src/loss.py`` in sail-sg/mugs; the shared memory is ours.
    """

    def __init__(self, queues: Mapping[str, tuple[int, int]],
                 memory: tuple[int, int] | None = None, *,
                 shared: bool = False, legacy_pointer: bool = False) -> None:
        super().__init__()
        self.queues = nn.ModuleDict({
            name: RingBuffer(*size) for name, size in queues.items()})
        self.teacher: RingBuffer | None = None
        self.student: RingBuffer | None = None
        self.labels: RingBuffer | None = None
        if memory is None:
            return
        self.teacher = RingBuffer(*memory, init='normal', keep_norms=True,
                                  legacy_pointer=legacy_pointer)
        # class numbers of the teacher's rows, only looked at for the log
        self.labels = RingBuffer(memory[0], 1, init='zeros',
                                 legacy_pointer=legacy_pointer)
        if not shared:
            self.student = RingBuffer(*memory, init='normal', keep_norms=True,
                                      legacy_pointer=legacy_pointer)

    def negatives(self, name: str) -> Tensor:
        """Rows (K, d) of a queue."""
        queue = self.queues[name]
        assert isinstance(queue, RingBuffer)
        return queue.rows

    def search(self, query: Tensor, k: int, *,
               student: bool = False) -> Neighbours:
        """Finds the neighbours of each query by cosine.

        Args:
            query (Tensor): (M, D).
            k (int): Number of neighbours, 1 <= k <= K.
            student (bool): In the student's memory, if it has one. Defaults
                to False, the teacher's.

        Returns:
            Neighbours: Of the M queries; without gradient.

        Raises:
            ConfigError: There is no feature memory.
        """
        memory = self.teacher
        if student and self.student is not None:
            memory = self.student
        if memory is None:
            raise ConfigError('these memories were built without features')
        slots, cosine = memory.search(query, k)
        return Neighbours(memory.rows[slots], slots, cosine)

    @torch.no_grad()
    def store(self, batch: MicroBatch) -> None:
        """Takes in a micro-batch of all ranks.

        Args:
            batch (MicroBatch): Of this rank; B is the same on all.
        """
        parts = [*(part.transpose(0, 1).flatten(1)
                   for part in batch.embeddings.values()),
                 batch.teacher, batch.student,
                 torch.stack((batch.labels, batch.store.float(),
                              batch.finite.expand_as(batch.store).float()),
                             dim=1)]
        # cat promotes half precision to the float32 of the notes
        gathered, _ = gather_rows(torch.cat(parts, dim=1), interleave=True)
        *queues, teacher, student, notes = gathered.split(
            [part.shape[1] for part in parts], dim=1)
        labels, store, finite = notes.unbind(1)
        keep = (finite > 0).all()
        for name, rows in zip(batch.embeddings, queues):
            queue = self.queues[name]
            assert isinstance(queue, RingBuffer)
            views = rows.unflatten(1, (-1, queue.rows.shape[1]))
            queue.enqueue(views.transpose(0, 1), keep, gather=False)
        for memory, rows, flags in (
                (self.teacher, teacher, keep),
                (self.labels, labels.unsqueeze(1), keep),
                (self.student, student, keep & (store > 0))):
            if memory is not None:
                memory.enqueue(rows, flags, gather=False)

    @torch.no_grad()
    def figures(self, found: Neighbours, labels: Tensor | None
                ) -> dict[str, Tensor]:
        """Numbers for the log.

        Args:
            found (Neighbours): Of the teacher's M = G B queries, view-major.
            labels (Tensor, optional): (B,) class numbers of their images.

        Returns:
            dict: ``raw/teacher_memory`` and ``raw/student_memory`` (share of
            rows ever written), ``raw/neighbour_cosine`` and, with labels,
            ``raw/neighbour_purity``: the share of the neighbours of known
            class that have the image's own class.
        """
        assert self.teacher is not None
        assert self.labels is not None
        logged = {'raw/teacher_memory': self.teacher.fill_fraction,
                  'raw/neighbour_cosine': found.cosine.mean()}
        if self.student is not None:
            logged['raw/student_memory'] = self.student.fill_fraction
        if labels is not None:
            theirs = self.labels.rows[found.slots, 0]
            known = self.labels.written[found.slots] & (theirs >= 0)
            own = labels.repeat(len(theirs) // len(labels)).unsqueeze(1)
            same = known & (theirs == own)
            logged['raw/neighbour_purity'] = (
                same.sum() / known.sum().clamp(min=1))
        return logged
