"""Ring buffer behind every queue and every feature memory."""
from __future__ import annotations

from typing import Any, cast

import torch
import torch.nn.functional as F
from mmengine.dist import all_gather
from torch import Tensor, nn

from mimplug.errors import ConfigError, check_choice
from mimplug.registry import MODELS

INITS = ('unit', 'normal', 'zeros')


def gather_rows(rows: Tensor, flags: Tensor | None = None, *,
                interleave: bool = False) -> tuple[Tensor, Tensor | None]:
    """Collects the rows of all ranks in one all-gather.

    Args:
        rows (Tensor): Shape (..., B, D); the same shape on every rank.
        flags (Tensor, optional): Bool, broadcastable to (..., B): which rows
            to keep. It travels as one more column, so that every rank learns
            the same selection and filters *after* the gather.
        interleave (bool): Rows in the order of one process with the whole
            batch: :class:`mimplug.KeyedSampler` deals the samples out one by
            one, so row i of rank r is the (i W + r)-th. What a buffer whose
            size the batch does not divide forgets then does not depend on W.
            Defaults to False, rank after rank, as the reference.

    Returns:
        tuple: Rows of shape (n, D) with n = ... x world size W x B: leading
        axes first, then ranks, then the batch (interleaved: batch, then
        ranks); and flags (n,) or None.
    """
    packed = rows
    if flags is not None:
        column = flags.expand(rows.shape[:-1]).unsqueeze(-1).to(rows.dtype)
        packed = torch.cat([rows, column], dim=-1)
    axis = -2 if interleave else -3
    merged = torch.stack(all_gather(packed), dim=axis).flatten(0, -2)
    if flags is None:
        return merged, None
    return merged[:, :-1], merged[:, -1] > 0


@MODELS.register_module()
class RingBuffer(nn.Module):
    r"""A fixed number of feature rows; the newest overwrite the oldest.

    Row r of an enqueue that starts at pointer p goes to slot
    :math:`(p + r) \bmod K`. Of more than K rows only the last K stay. The
    pointer is a device buffer and no method waits for the device, also when
    ``flags`` make the number of stored rows depend on the data: dropped rows
    then take the slots behind the kept ones and write back what is there.

    Negatives are ``rows`` before the enqueue. An enqueue may come between a
    loss of :mod:`mimplug.models.losses.info_nce` and its backward, because
    that loss keeps nothing of the queue; a function that does needs
    :meth:`snapshot`.

    Args:
        capacity (int): Number of rows K, >= 1.
        dim (int): Length of a row D, >= 1.
        init (str): First content: ``'unit'`` (normal draws scaled to length
            1: contrastive queues), ``'normal'`` (feature memories) or
            ``'zeros'``. Drawn from torch's generator like any weight.
            Defaults to ``'unit'``.
        normalize (bool): Scale rows to length 1 when they are stored.
            Defaults to False.
        keep_norms (bool): Keep the inverse length of each row beside it, so
            that :meth:`search` need not measure the whole buffer. Defaults
            to False.
        legacy_pointer (bool): Advance the pointer by twice the number of rows
            whenever the write does not pass the end, as released by Mugs:
            part of the slots is then seldom or never written. Defaults to
            False.

    Raises:
        ConfigError: A size below 1 or an unknown ``init``.

    Source: ``MoCo._dequeue_and_enqueue`` (facebookresearch/moco and its
    descendants) and ``Block_mem`` of sail-sg/mugs ``src/model.py``; the
    former refuse a capacity that the batch does not divide, this does not.

    Example:
        >>> queue = RingBuffer(4, 2, init='zeros')
        >>> queue.enqueue(torch.tensor([[1., 0.], [2., 0.], [3., 0.]]))
        >>> queue.enqueue(torch.tensor([[4., 0.], [5., 0.]]))
        >>> queue.rows[:, 0].tolist(), queue.pointer.tolist()
        ([5.0, 2.0, 3.0, 4.0], [1])
    """

    rows: Tensor
    pointer: Tensor
    written: Tensor
    inverse_norms: Tensor | None

    def __init__(self, capacity: int, dim: int, *, init: str = 'unit',
                 normalize: bool = False, keep_norms: bool = False,
                 legacy_pointer: bool = False) -> None:
        super().__init__()
        for name, value in (('capacity', capacity), ('dim', dim)):
            if value < 1:
                raise ConfigError(f'{name}={value!r}: allowed is >= 1')
        check_choice('init', init, INITS)
        self.normalize = normalize
        self.keep_norms = keep_norms
        self.legacy_pointer = legacy_pointer
        rows = torch.zeros(capacity, dim)
        if init != 'zeros':
            rows.normal_()
        if init == 'unit':
            rows = F.normalize(rows, dim=1)
        self.register_buffer('rows', rows)
        self.register_buffer('pointer', torch.zeros(1, dtype=torch.long))
        self.register_buffer(
            'written', torch.zeros(capacity, dtype=torch.bool))
        self.register_buffer('inverse_norms', None, persistent=False)
        self.refresh_norms()

    @property
    def capacity(self) -> int:
        """Number of rows K."""
        return self.rows.shape[0]

    @property
    def columns(self) -> Tensor:
        """The buffer as a (D, K) view, the layout of MoCo's ``queue``."""
        return self.rows.T

    @property
    def num_written(self) -> Tensor:
        """0-d int64 on the device: slots that hold a stored row."""
        return self.written.sum()

    @property
    def fill_fraction(self) -> Tensor:
        """0-d float32 on the device: share of slots ever written."""
        return self.written.float().mean()

    def snapshot(self) -> Tensor:
        """A copy of the rows, (K, D), that later enqueues leave alone."""
        return self.rows.clone()

    @torch.no_grad()
    def refresh_norms(self) -> None:
        """Measures all rows anew; call it after writing ``rows`` by hand."""
        if self.keep_norms:
            self.inverse_norms = _inverse_norm(self.rows)

    @torch.no_grad()
    def enqueue(self, rows: Tensor, flags: Tensor | None = None, *,
                gather: bool = True) -> None:
        """Stores rows, those of all ranks in the order of the ranks.

        Args:
            rows (Tensor): Shape (..., B, D), B >= 0, the same on every rank;
                any floating dtype, stored in the dtype of the buffer. Leading
                axes (views) are written one after the other.
            flags (Tensor, optional): Bool, broadcastable to (..., B): True =
                store. A 0-d flag accepts or rejects the whole batch of its
                rank. Defaults to None: store all.
            gather (bool): All-gather first, so that the buffers of all ranks
                stay equal. Defaults to True.
        """
        if gather:
            rows, flags = gather_rows(rows, flags)
        else:
            if flags is not None:
                flags = flags.expand(rows.shape[:-1]).flatten()
            rows = rows.flatten(0, -2)
        new = rows.to(self.rows)
        if self.normalize:
            new = F.normalize(new, dim=1)
        if flags is None:
            self._store_all(new)
        else:
            self._store_flagged(new, flags.to(new.device))

    def _store_all(self, new: Tensor) -> None:
        """Writes the last K of (n, D) rows."""
        count = new.shape[0]
        used = min(count, self.capacity)
        slots = self._slots(self.pointer + count, used)
        self._write(slots, new[count - used:], None)
        self._advance(count)

    def _store_flagged(self, new: Tensor, flags: Tensor) -> None:
        """Writes the last K of the flagged rows without knowing how many."""
        count = new.shape[0]
        used = min(count, self.capacity)
        # A stable sort puts the dropped rows first and keeps the order of the
        # others, so the last ones are those to store.
        order = flags.to(torch.uint8).argsort(stable=True)[count - used:]
        stored = flags.sum()
        slots = self._slots(self.pointer + stored, used)
        self._write(slots, new[order], flags[order])
        self._advance(stored)

    def _slots(self, end: Tensor, count: int) -> Tensor:
        """The ``count`` slots that end before ``end``; never one twice."""
        steps = torch.arange(-count, 0, device=self.rows.device)
        return (end + steps) % self.capacity

    def _write(self, slots: Tensor, values: Tensor,
               keep: Tensor | None) -> None:
        """Puts values into slots; where not ``keep``, the old ones again."""
        fresh = torch.ones_like(slots, dtype=torch.bool)
        if keep is not None:
            values = torch.where(keep.unsqueeze(1), values, self.rows[slots])
            fresh = keep | self.written[slots]
        self.rows.index_copy_(0, slots, values)
        self.written.index_copy_(0, slots, fresh)
        if self.inverse_norms is not None:
            self.inverse_norms.index_copy_(0, slots, _inverse_norm(values))

    def _advance(self, count: int | Tensor) -> None:
        """Moves the pointer by ``count`` rows."""
        step = count
        if self.legacy_pointer:
            step = count + count * (self.pointer + count <= self.capacity)
        self.pointer.add_(step).remainder_(self.capacity)

    @torch.no_grad()
    def search(self, query: Tensor, k: int, *,
               written_only: bool = False) -> tuple[Tensor, Tensor]:
        """Finds the k rows nearest to each query by cosine.

        Args:
            query (Tensor): Shape (..., D), any floating dtype and length.
            k (int): Number of neighbours, 1 <= k <= K.
            written_only (bool): Rank slots that were never written last
                (their cosine is -inf). Defaults to False, as the reference.

        Returns:
            tuple: Indices (..., k) int64 and cosines (..., k) in descending
            order, in the dtype of the buffer; the neighbours themselves are
            ``rows[index]``.

        Raises:
            ValueError: ``k`` out of range.

        Source: ``Block_mem._get_similarity_index`` of sail-sg/mugs
        ``src/model.py``.
        """
        if not 1 <= k <= self.capacity:
            raise ValueError(f'k={k}: allowed is [1, {self.capacity}]')
        with torch.autocast(query.device.type, enabled=False):
            unit = F.normalize(query.to(self.rows.dtype), dim=-1)
            norms = self.inverse_norms
            if norms is None:
                norms = _inverse_norm(self.rows)
            cosine = (unit @ self.columns) * norms
        if written_only:
            cosine = cosine.masked_fill(~self.written, -torch.inf)
        best = cosine.topk(k, dim=-1)
        return best.indices, best.values

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """Loads the rows and measures them: their lengths are not saved."""
        super()._load_from_state_dict(*args, **kwargs)
        self.refresh_norms()

    def extra_repr(self) -> str:
        """Sizes and options."""
        return (f'capacity={self.capacity}, dim={self.rows.shape[1]}, '
                f'normalize={self.normalize}, '
                f'legacy_pointer={self.legacy_pointer}')


def _inverse_norm(rows: Tensor) -> Tensor:
    """1 / length of each row, (n,), with F.normalize's floor of 1e-12."""
    return cast(Tensor, rows.norm(dim=1).clamp_min(1e-12).reciprocal())
