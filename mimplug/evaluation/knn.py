"""Weighted k-nearest-neighbour classification of features.

Exact, chunked, and cheap next to the one matrix product it needs: a row of
similarities is first reduced to the maxima of small groups, and only the
groups that can hold one of the k nearest are looked into.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mimplug.errors import ConfigError

from .neighbours import byte_budget, nearest_neighbours

__all__ = [
    'check_k', 'knn_accuracy', 'knn_correct', 'knn_predict',
    'nearest_neighbours'
]

# Votes are summed as integers of this many bits, so that the sum does not
# depend on the order in which a device adds them up.
_VOTE_BITS = 62
_MAX_SCALE_BITS = 40


def knn_accuracy(
        queries: Tensor,
        query_labels: Tensor,
        bank: Tensor,
        bank_labels: Tensor,
        *,
        k: int | Sequence[int] = (10, 20),
        temperature: float = 0.07,
        num_classes: int | None = None,
        max_bytes: int | None = None) -> dict[str, float]:
    r"""Share of queries whose label wins the vote of their neighbours, in %.

    Each of the k bank rows nearest in cosine similarity s votes with
    :math:`\exp(s / T)` for its own class. All k are served by one search.
    Classes with equal votes rank by class number, rows of equal similarity
    by their place in the bank.

    Args:
        queries (Tensor): (Q, D) features of any float type, not necessarily
            of unit length. Their device does the work.
        query_labels (Tensor): (Q,) integers; rows with a negative label are
            left out.
        bank (Tensor): (N, D) labelled features; may be of another float type
            and device: it is moved chunk by chunk.
        bank_labels (Tensor): (N,) integers; rows with a negative label are
            left out.
        k (int | Sequence[int]): Numbers of neighbours, each in
            [1, labelled bank rows]. Defaults to (10, 20).
        temperature (float): T > 0. Defaults to 0.07.
        num_classes (int, optional): Defaults to the largest label + 1.
        max_bytes (int, optional): Budget for the similarities held at once.
            Defaults to 24 MiB on CPU, 1 GiB elsewhere.

    Returns:
        dict[str, float]: ``top1_k10``, ``top5_k10``, … in percent. With
        fewer than five classes every label is among the first five.

    Raises:
        ConfigError: No labelled rows, wrong shapes, a k beyond the bank, a
            label beyond ``num_classes``, non-finite features.

    Source: ``knn_classifier`` in ``evaluation/eval_knn.py`` of
    gkakogeorgiou/attmask, which needs five classes and as many queries as it
    has chunks.

    Example:
        >>> bank = torch.eye(3)
        >>> knn_accuracy(bank, torch.arange(3), bank, torch.arange(3), k=1)
        {'top1_k1': 100.0, 'top5_k1': 100.0}
    """
    correct, total = knn_correct(
        queries, query_labels, bank, bank_labels, k=k,
        temperature=temperature, num_classes=num_classes,
        max_bytes=max_bytes)
    if total == 0:
        raise ConfigError(
            f'k-NN needs labels: none of the {len(query_labels)} queries has '
            'one (a label >= 0)')
    return percent(correct, total, check_k(k))


def percent(correct: Tensor, total: int,
            ks: Sequence[int]) -> dict[str, float]:
    """Counts of :func:`knn_correct` as ``top1_k…``, ``top5_k…`` in percent.

    Args:
        correct (Tensor): (len(ks), 2) integers.
        total (int): Number of labelled queries, > 0.
        ks (Sequence[int]): Numbers of neighbours, as sorted as the rows.

    Returns:
        dict[str, float]: Two entries a k.
    """
    shares = (correct.double() * (100.0 / total)).tolist()
    return {
        f'top{top}_k{k}': share
        for k, row in zip(ks, shares) for top, share in zip((1, 5), row)
    }


@torch.no_grad()
def knn_correct(
        queries: Tensor,
        query_labels: Tensor,
        bank: Tensor,
        bank_labels: Tensor,
        *,
        k: int | Sequence[int] = (10, 20),
        temperature: float = 0.07,
        num_classes: int | None = None,
        max_bytes: int | None = None) -> tuple[Tensor, int]:
    """Counts behind :func:`knn_accuracy`, to be added up over processes.

    Args:
        queries, query_labels, bank, bank_labels, k, temperature, num_classes,
            max_bytes: As for :func:`knn_accuracy`, but no query may be
            labelled (a shard can be empty).

    Returns:
        tuple[Tensor, int]: (number of different k, 2) int64 counts of queries
        right among the first one and first five classes, by rising k; and the
        number of labelled queries.

    Raises:
        ConfigError: As for :func:`knn_accuracy`.
    """
    ks = check_k(k)
    device = queries.device
    queries, query_labels = _labelled(queries, query_labels, 'queries')
    bank, bank_labels = _labelled(bank, bank_labels, 'bank')
    if len(bank) == 0:
        raise ConfigError(
            'k-NN needs labels: no row of the bank has one (a label >= 0)')
    labels = bank_labels.to(device)
    truth = query_labels.to(device)
    classes = _count_classes(num_classes, labels, truth)
    correct = torch.zeros(len(ks), 2, dtype=torch.int64, device=device)
    similarity, index = nearest_neighbours(
        queries, bank, ks[-1], max_bytes=max_bytes)
    for rows in _row_chunks(len(queries), classes, ks[-1], device, max_bytes):
        votes = _votes(similarity[rows], labels[index[rows]], ks, temperature,
                       classes)
        for i, vote in enumerate(votes):
            rank = (vote > vote.gather(1, truth[rows, None])).sum(1)
            correct[i] += torch.stack([rank < 1, rank < 5]).sum(1)
    return correct, len(truth)


@torch.no_grad()
def knn_predict(
        queries: Tensor,
        bank: Tensor,
        bank_labels: Tensor,
        *,
        k: int = 20,
        temperature: float = 0.07,
        num_classes: int | None = None,
        max_bytes: int | None = None) -> Tensor:
    """Returns the class that wins the vote of each query's neighbours.

    Args:
        queries (Tensor): (Q, D) features.
        bank (Tensor): (N, D) features.
        bank_labels (Tensor): (N,) integers; negative rows are left out.
        k (int): Number of neighbours. Defaults to 20.
        temperature, num_classes, max_bytes: As for :func:`knn_accuracy`.

    Returns:
        Tensor: (Q,) int64 on the device of ``queries``.

    Raises:
        ConfigError: As for :func:`knn_accuracy`.
    """
    ks = check_k(k)
    device = queries.device
    bank, bank_labels = _labelled(bank, bank_labels, 'bank')
    if len(bank) == 0:
        raise ConfigError(
            'k-NN needs labels: no row of the bank has one (a label >= 0)')
    labels = bank_labels.to(device)
    classes = _count_classes(num_classes, labels, labels)
    similarity, index = nearest_neighbours(
        queries, bank, ks[-1], max_bytes=max_bytes)
    winners = torch.empty(len(queries), dtype=torch.int64, device=device)
    for rows in _row_chunks(len(queries), classes, ks[-1], device, max_bytes):
        vote, = _votes(similarity[rows], labels[index[rows]], ks, temperature,
                       classes)
        winners[rows] = vote.argmax(1)
    return winners


def check_k(k: int | Sequence[int]) -> tuple[int, ...]:
    """Returns the different numbers of neighbours, rising.

    Args:
        k (int | Sequence[int]): One or several numbers >= 1.

    Returns:
        tuple[int, ...]: Sorted, each once.

    Raises:
        ConfigError: Nothing given, or not a positive integer.
    """
    values = list(k) if isinstance(k, Sequence) else [k]
    wrong = [v for v in values
             if isinstance(v, bool) or not isinstance(v, int) or v < 1]
    if wrong or not values:
        raise ConfigError(f'k={k!r}: allowed are integers >= 1')
    return tuple(sorted(set(values)))


def _labelled(features: Tensor, labels: Tensor,
              name: str) -> tuple[Tensor, Tensor]:
    """Rows with a label >= 0; no copy where all have one."""
    if features.ndim != 2 or labels.shape != features.shape[:1]:
        raise ConfigError(
            f'{name}: features {tuple(features.shape)} and labels '
            f'{tuple(labels.shape)} given, (n, channels) and (n,) needed')
    if labels.is_floating_point():
        raise ConfigError(
            f'{name}: labels are {labels.dtype}, integers needed')
    labels = labels.long()
    keep = labels >= 0
    if bool(keep.all()):
        return features, labels
    return features[keep.to(features.device)], labels[keep]


def _count_classes(num_classes: int | None, *labels: Tensor) -> int:
    """Size of the table of votes, checked against the labels."""
    largest = max(int(some.max()) if len(some) else -1 for some in labels)
    if num_classes is None:
        return largest + 1
    if largest >= num_classes:
        raise ConfigError(
            f'num_classes={num_classes}: there is a label {largest}; allowed '
            f'is {largest + 1} or more')
    return num_classes


def _row_chunks(num_rows: int, classes: int, k: int, device: torch.device,
                max_bytes: int | None) -> list[slice]:
    """Slices of queries whose votes fit the budget."""
    size = byte_budget(device, max_bytes) // (8 * (classes + 4 * k))
    size = max(1, size)
    return [slice(i, i + size) for i in range(0, num_rows, size)]


def _votes(similarity: Tensor, labels: Tensor, ks: Sequence[int],
           temperature: float, classes: int) -> list[Tensor]:
    """Votes a class for each k: (q, C) int64, no two equal in a row.

    A row is scaled by its largest vote, so no temperature overflows. The
    lowest digits hold the rank of the class among equal votes.
    """
    if not temperature > 0:
        raise ConfigError(f'temperature={temperature!r}: allowed is > 0')
    room = _VOTE_BITS - math.ceil(math.log2(ks[-1] * classes + 1))
    scale = 2.0**min(_MAX_SCALE_BITS, room)
    weight = ((similarity - similarity[:, :1]).double() / temperature).exp_()
    # a neighbour's vote counts at least one unit: more than no vote at all
    weight = (weight * scale).clamp_(min=1.0).long() * classes
    table = torch.arange(classes - 1, -1, -1, device=weight.device)
    table = table.repeat(len(weight), 1)
    votes, done = [], 0
    for k in ks:
        table.scatter_add_(1, labels[:, done:k], weight[:, done:k])
        votes.append(table if k == ks[-1] else table.clone())
        done = k
    return votes
