"""How well clusters agree with classes, without using the classes' names.

All measures are functions of the contingency table :math:`n_{uv}`: how many
of n samples of class u lie in cluster v, with row sums :math:`a_u` and column
sums :math:`b_v`.
"""
from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mimplug.errors import ConfigError

Labels = Tensor | np.ndarray


def clustering_metrics(labels: Labels, clusters: Labels) -> dict[str, float]:
    """Returns all measures of this module; unlabelled samples are left out.

    Args:
        labels (Tensor | ndarray): (n,) integers; negative: no label.
        clusters (Tensor | ndarray): (n,) integers; any values.

    Returns:
        dict[str, float]: ``nmi``, ``ari``, ``fowlkes_mallows`` (1 is perfect)
        and ``matched_accuracy`` in percent.

    Raises:
        ConfigError: Wrong shapes or types, or no labelled sample.

    Source: ``eval_pred`` in ``evaluation/unsupervised/unsup_cls.py`` of
    gkakogeorgiou/attmask.

    Example:
        >>> metrics = clustering_metrics(np.array([0, 0, 1]),
        ...                              np.array([5, 5, 3]))
        >>> {name: round(value, 6) for name, value in metrics.items()}
        {'nmi': 1.0, 'ari': 1.0, 'fowlkes_mallows': 1.0, \
'matched_accuracy': 100.0}
    """
    table = contingency_table(labels, clusters)
    return dict(
        nmi=normalized_mutual_information(table),
        ari=adjusted_rand_index(table),
        fowlkes_mallows=fowlkes_mallows_index(table),
        matched_accuracy=100.0 * matched_accuracy(table))


def contingency_table(labels: Labels, clusters: Labels) -> np.ndarray:
    """Counts the samples of each class in each cluster.

    Args:
        labels (Tensor | ndarray): (n,) integers; rows with a negative label
            are left out.
        clusters (Tensor | ndarray): (n,) integers.

    Returns:
        ndarray: (classes that occur, clusters that occur) float64 counts.

    Raises:
        ConfigError: Wrong shapes or types, or no labelled sample.
    """
    truth, groups = _integers(labels, 'labels'), _integers(clusters,
                                                           'clusters')
    if truth.shape != groups.shape:
        raise ConfigError(
            f'{len(truth)} labels and {len(groups)} clusters: equally many '
            'are needed')
    keep = truth >= 0
    if not keep.any():
        raise ConfigError(
            f'clustering metrics need labels: none of {len(truth)} samples '
            'has one (a label >= 0)')
    _, u = np.unique(truth[keep], return_inverse=True)
    _, v = np.unique(groups[keep], return_inverse=True)
    shape = (int(u.max()) + 1, int(v.max()) + 1)
    flat = np.bincount(u * shape[1] + v, minlength=shape[0] * shape[1])
    return flat.reshape(shape).astype(np.float64)


def normalized_mutual_information(table: np.ndarray) -> float:
    r"""Mutual information over the mean of both entropies.

    .. math::
        \mathrm{NMI} = \frac{2\, I}{H_a + H_b}, \quad
        I = \sum_{uv} \frac{n_{uv}}{n} \log \frac{n\, n_{uv}}{a_u b_v}

    Args:
        table (ndarray): (U, V) counts.

    Returns:
        float: In [0, 1]; 1 if there is one class and one cluster.
    """
    share = table / table.sum()
    rows, columns = share.sum(1), share.sum(0)
    joint = share[share > 0]
    independent = np.outer(rows, columns)[share > 0]
    information = float((joint * np.log(joint / independent)).sum())
    entropy = _entropy(rows) + _entropy(columns)
    # rounding may leave a tiny negative value for independent labellings
    return max(0.0, 2 * information / entropy) if entropy > 0 else 1.0


def adjusted_rand_index(table: np.ndarray) -> float:
    r"""Share of agreeing pairs, corrected for chance.

    .. math::
        \mathrm{ARI} = \frac{S - E}{(A + B) / 2 - E}, \quad
        E = A B / \tbinom{n}{2}

    with the numbers of pairs together in both (S), in the classes (A) and in
    the clusters (B).

    Args:
        table (ndarray): (U, V) counts.

    Returns:
        float: 1 is perfect, 0 what chance gives, negative below.
    """
    both, in_rows, in_columns = _pairs_together(table)
    n = table.sum()
    pairs = n * (n - 1) / 2
    expected = in_rows * in_columns / pairs if pairs else 0.0
    room = (in_rows + in_columns) / 2 - expected
    # no room: both trivial, each sample alone or all of them together
    return float((both - expected) / room) if room else 1.0


def fowlkes_mallows_index(table: np.ndarray) -> float:
    r"""Geometric mean of pairwise precision and recall, :math:`S/\sqrt{AB}`.

    Args:
        table (ndarray): (U, V) counts.

    Returns:
        float: In [0, 1]; 0 if no pair is together in both.
    """
    both, in_rows, in_columns = _pairs_together(table)
    return float(both / np.sqrt(in_rows * in_columns)) if both else 0.0


def matched_accuracy(table: np.ndarray) -> float:
    """Accuracy after the best one-to-one matching of clusters to classes.

    With unequal numbers the clusters (or classes) left over count as wrong.

    Args:
        table (ndarray): (U, V) counts.

    Returns:
        float: In [0, 1].
    """
    rows, columns = linear_sum_assignment(table, maximize=True)
    return float(table[rows, columns].sum() / table.sum())


def _integers(values: Labels, name: str) -> np.ndarray:
    """One axis of integers on the host."""
    array = values.cpu().numpy() if isinstance(
        values, torch.Tensor) else np.asarray(values)
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise ConfigError(
            f'{name}: {array.dtype} of shape {array.shape} given, integers '
            'of shape (n,) needed')
    return array


def _entropy(share: np.ndarray) -> float:
    """Of a distribution without zeros, in nats."""
    return float(-(share * np.log(share)).sum())


def _pairs_together(table: np.ndarray) -> tuple[float, float, float]:
    """Pairs of samples together in both, in the classes, in the clusters."""
    both, rows, columns = (
        float((count * (count - 1) / 2).sum())
        for count in (table, table.sum(1), table.sum(0)))
    return both, rows, columns
