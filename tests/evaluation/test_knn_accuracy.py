"""The vote: published numbers, odd sizes, ties, missing labels."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mimplug.errors import ConfigError
from mimplug.evaluation import knn_accuracy, knn_correct, knn_predict

# Percentages agree to 1e-4 (README of the goldens).
TOLERANCE = 1e-4


@pytest.mark.golden('attmask_ibot', 'knn')
def test_published_classifier(golden):
    data = [golden.tensor(key) for key in (
        'test_features', 'test_labels', 'train_features', 'train_labels')]
    ks = golden['k'].tolist()
    for row, temperature in zip(golden['top1_top5_percent'], golden['T']):
        found = knn_accuracy(
            *data, k=ks, temperature=float(temperature),
            num_classes=golden.scalar('num_classes'))
        for (top1, top5), k in zip(row, ks):
            assert found[f'top1_k{k}'] == pytest.approx(top1, abs=TOLERANCE)
            if k >= 10:  # below, classes without votes decide
                assert found[f'top5_k{k}'] == pytest.approx(
                    top5, abs=TOLERANCE)


def clouds(rows, classes, seed, width=8, noise=1.0):
    draws = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width,
                          generator=torch.Generator().manual_seed(7))
    labels = torch.randint(classes, (rows,), generator=draws)
    return centres[labels] + noise * torch.randn(
        rows, width, generator=draws), labels


def slow_votes(queries, bank, labels, k, temperature, classes):
    """The definition, one query at a time, in float64."""
    similarity = (F.normalize(queries.double(), dim=1)
                  @ F.normalize(bank.double(), dim=1).T).numpy()
    votes = np.zeros((len(queries), classes))
    for row, vote in zip(similarity, votes):
        for j in np.argsort(-row, kind='stable')[:k]:
            vote[labels[j]] += np.exp(row[j] / temperature)
    return votes


@pytest.mark.property
@pytest.mark.parametrize('classes', [1, 2, 3, 4, 5, 37])
@pytest.mark.parametrize('num_queries', [1, 2, 41])
@pytest.mark.parametrize('temperature', [0.01, 0.07, 1.0])
def test_equals_the_definition(classes, num_queries, temperature):
    queries, truth = clouds(num_queries, classes, seed=1)
    bank, labels = clouds(150, classes, seed=2)
    found = knn_accuracy(queries, truth, bank, labels, k=[1, 7, 150],
                         temperature=temperature)
    for k in (1, 7, 150):
        votes = slow_votes(queries, bank, labels, k, temperature, classes)
        order = np.argsort(-votes, axis=1, kind='stable')
        hits = order == truth[:, None].numpy()
        for top in (1, 5):
            assert found[f'top{top}_k{k}'] == pytest.approx(
                100 * hits[:, :top].any(1).mean())
        assert knn_predict(
            queries, bank, labels, k=k, temperature=temperature
        ).tolist() == order[:, 0].tolist()


@pytest.mark.property
def test_one_pass_equals_one_pass_a_k():
    queries, truth = clouds(60, 9, seed=1)
    bank, labels = clouds(300, 9, seed=2)
    together = knn_accuracy(queries, truth, bank, labels, k=(200, 5, 5, 20))
    apart = {}
    for k in (5, 20, 200):
        apart.update(knn_accuracy(queries, truth, bank, labels, k=k))
    assert together == apart
    assert list(together) == [f'top{t}_k{k}' for k in (5, 20, 200)
                              for t in (1, 5)]


@pytest.mark.property
def test_unlabelled_rows_do_not_exist():
    queries, truth = clouds(40, 6, seed=1)
    bank, labels = clouds(200, 6, seed=2)
    keep_q, keep_b = torch.arange(40) % 3 > 0, torch.arange(200) % 4 > 0
    expected = knn_accuracy(queries[keep_q], truth[keep_q], bank[keep_b],
                            labels[keep_b])
    truth[~keep_q], labels[~keep_b] = -1, -7
    assert knn_accuracy(queries, truth, bank, labels) == expected


@pytest.mark.property
@pytest.mark.parametrize('dtype', [
    torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize('max_bytes', [None, 3000])
def test_types_and_chunks(dtype, max_bytes):
    queries, truth = clouds(50, 5, seed=1, noise=0.05)
    bank, labels = clouds(200, 5, seed=2, noise=0.05)
    found = knn_accuracy(queries.to(dtype), truth.int(), bank.to(dtype),
                         labels, k=10, max_bytes=max_bytes)
    assert found['top1_k10'] == 100.0


@pytest.mark.unit
def test_equal_votes_go_to_the_first_class():
    bank = torch.eye(4)
    labels = torch.tensor([3, 1, 2, 0])
    query = torch.ones(1, 4)
    assert knn_predict(query, bank, labels, k=4).tolist() == [0]
    assert knn_predict(query, bank, labels, k=2).tolist() == [1]


@pytest.mark.unit
def test_faint_votes_beat_no_votes():
    # the second neighbour's vote is exp(-200) of the first one's
    bank = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    labels = torch.tensor([0, 9])
    found = knn_accuracy(torch.tensor([[1.0, 0.0]]), torch.tensor([9]), bank,
                         labels, k=2, temperature=0.01)
    assert found == {'top1_k2': 0.0, 'top5_k2': 100.0}


@pytest.mark.unit
def test_a_class_that_the_bank_lacks_is_never_right():
    bank, labels = clouds(30, 3, seed=2)
    found = knn_accuracy(bank[:5], torch.full((5,), 8), bank, labels, k=3)
    assert found['top1_k3'] == 0.0


@pytest.mark.unit
def test_counts_add_up_over_shards():
    queries, truth = clouds(23, 4, seed=1)
    truth[5] = -1
    bank, labels = clouds(90, 4, seed=2)
    whole, total = knn_correct(queries, truth, bank, labels, k=(3, 9))
    parts = [knn_correct(queries[r::3], truth[r::3], bank, labels, k=(3, 9))
             for r in range(3)]
    assert sum(count for count, _ in parts).equal(whole)
    assert sum(size for _, size in parts) == total == 22
    empty, none = knn_correct(queries[:0], truth[:0], bank, labels, k=3)
    assert empty.tolist() == [[0, 0]]
    assert none == 0


@pytest.mark.unit
@pytest.mark.parametrize('changes, text', [
    (dict(k=0), 'k=0'), (dict(k=[]), 'k=\\[\\]'), (dict(k=2.0), 'k=2.0'),
    (dict(k=True), 'k=True'),
    (dict(k=31), r'k=31 with 30 labelled rows'),
    (dict(temperature=0.0), 'temperature=0.0'),
    (dict(temperature=float('nan')), 'temperature=nan'),
    (dict(num_classes=2), 'num_classes=2: there is a label 2'),
    (dict(query_labels=torch.full((5,), -1)), 'none of the 5 queries'),
    (dict(bank_labels=torch.full((30,), -1)), 'no row of the bank'),
    (dict(bank_labels=torch.zeros(30)), 'bank: labels are torch.float32'),
    (dict(query_labels=torch.zeros(4).long()), r'queries: .*\(4,\)'),
    (dict(queries=torch.zeros(5, 8, 1)), r'queries: .*\(5, 8, 1\)'),
])
def test_bad_input(changes, text):
    bank, labels = clouds(30, 3, seed=2)
    data = dict(queries=bank[:5], query_labels=labels[:5], bank=bank,
                bank_labels=labels, k=3) | changes
    with pytest.raises(ConfigError, match=text):
        knn_accuracy(**data)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_gpu_equals_cpu():
    queries, truth = clouds(300, 20, seed=1)
    bank, labels = clouds(5000, 20, seed=2)
    expected = knn_accuracy(queries, truth, bank, labels, k=(20, 200))
    assert knn_accuracy(queries.cuda(), truth, bank, labels,
                        k=(20, 200)) == pytest.approx(expected, abs=0.4)
