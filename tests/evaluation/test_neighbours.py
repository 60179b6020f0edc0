"""The search against the obvious formula."""
import pytest
import torch
import torch.nn.functional as F

from mimplug.errors import ConfigError
from mimplug.evaluation import nearest_neighbours
from mimplug.evaluation.neighbours import _chunk_sizes, _group_size


def features(rows, width=7, seed=0, dtype=torch.float32):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=draws).to(dtype)


def reference(queries, bank, k):
    similarity = (F.normalize(queries.double(), dim=1)
                  @ F.normalize(bank.double(), dim=1).T)
    return similarity.sort(dim=1, descending=True, stable=True)


@pytest.mark.property
@pytest.mark.parametrize('rows', [1, 5, 64, 333, 2049])
@pytest.mark.parametrize('queries', [1, 13])
@pytest.mark.parametrize('k', [1, 3, 20, 200])
@pytest.mark.parametrize('max_bytes', [None, 4096, 1])
def test_equals_sorting_everything(rows, queries, k, max_bytes):
    if k > rows:
        return
    query, bank = features(queries, seed=1), features(rows)
    values, order = reference(query, bank, k)
    similarity, index = nearest_neighbours(query, bank, k,
                                           max_bytes=max_bytes)
    assert similarity.shape == index.shape == (queries, k)
    assert torch.allclose(similarity.double(), values[:, :k], atol=2e-6)
    assert (index == order[:, :k]).float().mean() > 0.99
    # where float32 ordered otherwise, the similarities are equal in float32
    picked = values.gather(1, order.argsort(1).gather(1, index))
    assert torch.allclose(picked, values[:, :k], atol=2e-6)


@pytest.mark.property
@pytest.mark.parametrize('max_bytes', [None, 2048, 1])
def test_equal_rows_come_in_the_order_of_the_bank(max_bytes):
    base = features(16, seed=3)
    bank = base.repeat(40, 1)  # each row forty times, 16 apart
    _, index = nearest_neighbours(base[:4], bank, 25, max_bytes=max_bytes)
    expected = torch.arange(25) * 16 + torch.arange(4)[:, None]
    assert index.equal(expected)


@pytest.mark.unit
@pytest.mark.parametrize('dtype', [
    torch.float64, torch.bfloat16, torch.float16])
def test_storage_types(dtype):
    query, bank = features(9, seed=1), features(500)
    expected, _ = nearest_neighbours(query.to(dtype).float(),
                                     bank.to(dtype).float(), 10)
    similarity, _ = nearest_neighbours(query.to(dtype), bank.to(dtype), 10)
    assert similarity.dtype == torch.float32
    assert torch.allclose(similarity, expected, atol=1e-6)


@pytest.mark.unit
def test_zero_rows_and_negative_similarities():
    query = torch.tensor([[1.0, 0.0]])
    bank = torch.tensor([[-1.0, 0.0], [-2.0, 1.0], [0.0, 0.0]])
    similarity, index = nearest_neighbours(query, bank, 3)
    assert index.tolist() == [[2, 1, 0]]
    assert torch.allclose(
        similarity, torch.tensor([[0.0, -2 / 5**0.5, -1.0]]))


@pytest.mark.unit
def test_padding_is_never_found():
    # 67 rows of similarity -1: groups are padded, nothing else is found
    bank = -torch.ones(67, 3)
    _, index = nearest_neighbours(torch.ones(2, 3), bank, 4)
    assert index.tolist() == [[0, 1, 2, 3]] * 2
    assert _group_size(67, 4) > 1


@pytest.mark.unit
def test_no_queries():
    similarity, index = nearest_neighbours(
        torch.empty(0, 4), features(10, 4), 3)
    assert similarity.shape == index.shape == (0, 3)


@pytest.mark.unit
@pytest.mark.parametrize('query, bank, k, text', [
    (features(2), features(5), 6, r'k=6 with 5 labelled rows.*\[1, 5\]'),
    (features(2), features(5), 0, 'k=0'),
    (features(2, 3), features(5, 4), 1, r'\(2, 3\).*\(5, 4\)'),
    (features(2).long(), features(5), 1, 'torch.int64'),
    (features(2) * float('nan'), features(5), 1, 'queries.*not finite'),
    (features(2), features(5) / 0, 1, 'bank.*not finite'),
])
def test_bad_input(query, bank, k, text):
    with pytest.raises(ConfigError, match=text):
        nearest_neighbours(query, bank, k)


@pytest.mark.unit
def test_budget_must_be_positive():
    with pytest.raises(ConfigError, match='max_bytes=0'):
        nearest_neighbours(features(2), features(5), 1, max_bytes=0)


@pytest.mark.property
@pytest.mark.parametrize('queries, rows, k', [
    (1000, 20_000, 20), (50_000, 1_281_167, 200), (3, 10, 10), (0, 7, 2)])
@pytest.mark.parametrize('budget', [1 << 20, 24 << 20, 1 << 30])
def test_chunks_keep_the_budget(queries, rows, k, budget):
    size, columns = _chunk_sizes(queries, rows, k, budget)
    assert 1 <= size <= max(1, queries)
    assert 1 <= columns <= rows
    assert size * columns * 4 <= budget or size == 1
