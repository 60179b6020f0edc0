"""Exact search for the nearest rows of a feature bank."""
from __future__ import annotations

import torch
from torch import Tensor

from mimplug.errors import ConfigError

# Bytes of similarities held at once. Buffers below 32 MiB are handed out again
# by the C library without new page faults.
CPU_BUDGET = 24 << 20
DEVICE_BUDGET = 1 << 30
# A matrix product with fewer rows than this does not reach full speed.
_MIN_ROWS = 256
_MAX_GROUP = 64
# Similarities lie in [-1, 1] up to rounding: as integers of 2^-29 they and
# the bank's row number fit into 64 bits.
_UNIT = 2.0**29
_ROW_BITS = 32
_ROWS = 2**_ROW_BITS


@torch.no_grad()
def nearest_neighbours(queries: Tensor, bank: Tensor, k: int, *,
                       max_bytes: int | None = None) -> tuple[Tensor, Tensor]:
    r"""Returns the k most similar bank rows of every query.

    Similarity is the cosine, computed in float32 whatever the type of the
    features. Rows whose similarities agree to :math:`2^{-29}` come in the
    order of the bank, so that the choice among equals neither depends on the
    chunks nor on the device.

    Args:
        queries (Tensor): (Q, D); their device does the work.
        bank (Tensor): (N, D), any float type and device.
        k (int): 1 <= k <= N.
        max_bytes (int, optional): Budget for the similarities held at once.
            Defaults to 24 MiB on CPU, 1 GiB elsewhere.

    Returns:
        tuple[Tensor, Tensor]: Similarities (Q, k) float32, falling, and row
        numbers (Q, k) int64.

    Raises:
        ConfigError: Wrong shapes, k beyond the bank, non-finite features.
    """
    _check(queries, bank, k)
    unit = queries.float()
    unit = unit * _inverse_norm(unit, 'queries')
    rows, columns = _chunk_sizes(
        len(queries), len(bank), k, byte_budget(queries.device, max_bytes))
    best = _search_chunk(unit, bank[:columns], 0, k, rows)
    for start in range(columns, len(bank), columns):
        found = _search_chunk(
            unit, bank[start:start + columns], start, k, rows)
        merged = torch.cat([best, found], 1)
        best = merged.topk(min(k, merged.shape[1]), 1).values
    return _unpack(best)


def byte_budget(device: torch.device, max_bytes: int | None) -> int:
    """Returns the bytes that one chunk may take.

    Args:
        device (torch.device): Where the work is done.
        max_bytes (int, optional): What the caller asked for.

    Returns:
        int: ``max_bytes``, or the default of the device.

    Raises:
        ConfigError: ``max_bytes`` is not positive.
    """
    if max_bytes is None:
        return CPU_BUDGET if device.type == 'cpu' else DEVICE_BUDGET
    if max_bytes < 1:
        raise ConfigError(f'max_bytes={max_bytes}: allowed is >= 1')
    return max_bytes


def _check(queries: Tensor, bank: Tensor, k: int) -> None:
    """Shapes, types and k."""
    fits = (queries.ndim == bank.ndim == 2
            and queries.shape[1] == bank.shape[1])
    if not fits:
        raise ConfigError(
            f'queries {tuple(queries.shape)} and bank {tuple(bank.shape)}: '
            'two matrices with equally many channels are needed')
    if not (queries.is_floating_point() and bank.is_floating_point()):
        raise ConfigError(
            f'queries are {queries.dtype}, bank is {bank.dtype}: floating '
            'point features are needed')
    if not 1 <= k <= len(bank) < _ROWS:
        raise ConfigError(
            f'k={k} with {len(bank)} labelled rows in the bank: allowed is '
            f'[1, {len(bank)}]')


def _inverse_norm(features: Tensor, name: str) -> Tensor:
    """(n, 1) factor to unit length; 0 for rows of zeros."""
    wide = torch.promote_types(features.dtype, torch.float32)
    norm = torch.linalg.vector_norm(
        features, dim=1, keepdim=True, dtype=wide).float()
    if not bool(norm.isfinite().all()):
        raise ConfigError(
            f'{name}: some features are not finite, or too large to square '
            'in float32')
    return torch.where(norm > 0, 1 / norm, 0.0)


def _chunk_sizes(num_queries: int, num_rows: int, k: int,
                 budget: int) -> tuple[int, int]:
    """Queries and bank rows a chunk, about equal among the chunks."""
    cells = max(1, budget // 4)
    columns = min(num_rows, max(4 * k, cells // _MIN_ROWS))
    rows = min(num_queries, max(1, cells // columns))
    return _even(num_queries, rows), _even(num_rows, columns)


def _even(total: int, size: int) -> int:
    """The smallest size that needs no more chunks than ``size``."""
    return -(-total // -(-total // size)) if total else 1


def _group_size(num_rows: int, k: int) -> int:
    """Power of two near sqrt(n / k): as many groups as candidates later."""
    group = 1
    while group < _MAX_GROUP and (2 * group)**2 * k <= num_rows:
        group *= 2
    return group


def _search_chunk(queries: Tensor, chunk: Tensor, start: int, k: int,
                  rows: int) -> Tensor:
    """Keys (Q, min(k, n)) of the nearest rows of one chunk of the bank."""
    chunk = chunk.to(queries.device)
    size = len(chunk)
    k = min(k, size)
    group = _group_size(size, k)
    bank = _grouped_bank(chunk, group)
    buffer = queries.new_empty(rows * len(bank))
    found = queries.new_empty(len(queries), k, dtype=torch.int64)
    for i in range(0, len(queries), rows):
        part = queries[i:i + rows]
        similarity = buffer[:len(part) * len(bank)].view(len(part), len(bank))
        torch.mm(part, bank.t(), out=similarity)
        grid = similarity.view(len(part), group, -1)
        filled = size - (grid.shape[2] - 1) * group
        grid[:, filled:, -1] = -2.0  # padding: below any cosine
        found[i:i + rows] = _top_keys(grid, start, k)
    return found


def _grouped_bank(chunk: Tensor, group: int) -> Tensor:
    """Unit rows (g * G, D): row r of group j at place ``r * G + j``.

    A group is ``group`` successive rows of the bank. In this order its
    maximum is taken over the outer axis, which is one pass of wide vector
    instructions.
    """
    count = -(-len(chunk) // group)
    scale = _inverse_norm(chunk, 'bank')
    padding = count * group - len(chunk)
    if padding:
        chunk = torch.nn.functional.pad(chunk, (0, 0, 0, padding))
        scale = torch.nn.functional.pad(scale, (0, 0, 0, padding))
    bank = chunk.new_empty(group, count, chunk.shape[1], dtype=torch.float32)
    torch.mul(chunk.view(count, group, -1).transpose(0, 1),
              scale.view(count, group, 1).transpose(0, 1), out=bank)
    return bank.flatten(0, 1)


def _top_keys(grid: Tensor, start: int, k: int) -> Tensor:
    """Keys (q, k) of the largest entries of similarities (q, g, G).

    The k largest entries lie in the k groups with the largest maxima; among
    equal maxima the first groups suffice, since rows of equal similarity are
    taken in the order of the bank.
    """
    batch, group, count = grid.shape
    number = torch.arange(count, device=grid.device)
    if group > 1 and k < count:
        top = _pack(grid.amax(1), number).topk(k, 1, sorted=False).indices
    else:
        top = number.expand(batch, count)
    member = torch.arange(group, device=grid.device)[:, None]
    place = (member * count + top[:, None, :]).flatten(1)
    row = (top[:, None, :] * group + member).flatten(1)
    candidates = grid.flatten(1).gather(1, place)
    return _pack(candidates, row + start).topk(k, 1).values


def _pack(similarity: Tensor, row: Tensor) -> Tensor:
    """One int64 a pair that sorts by similarity, then by falling row."""
    return (similarity * _UNIT).long().bitwise_left_shift_(_ROW_BITS).sub_(row)


def _unpack(key: Tensor) -> tuple[Tensor, Tensor]:
    """Inverse of :func:`_pack`."""
    row = (-key).bitwise_and_(_ROWS - 1)
    return ((key + row).double() / (_ROWS * _UNIT)).float(), row
