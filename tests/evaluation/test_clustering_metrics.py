"""Agreement of clusters with classes."""
import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn_metrics

from mimplug.errors import ConfigError
from mimplug.evaluation import clustering_metrics
from mimplug.evaluation.clustering import contingency_table

NAMES = ('nmi', 'ari', 'fowlkes_mallows')


@pytest.mark.golden('attmask_ibot', 'unsup_metrics')
def test_published_metrics(golden):
    found = clustering_metrics(golden['label'], golden['pred'])
    for name in NAMES:
        assert found[name] == pytest.approx(golden.scalar(name), abs=1e-9)
    assert found['matched_accuracy'] == pytest.approx(
        100 * golden.scalar('matched_accuracy'), abs=1e-9)


@pytest.mark.property
@pytest.mark.parametrize('classes, clusters', [
    (1, 1), (1, 5), (5, 1), (3, 7), (7, 3), (4, 4)])
@pytest.mark.parametrize('size', [2, 30, 500])
def test_equals_scikit_learn(classes, clusters, size):
    draws = np.random.RandomState(classes * 100 + clusters)
    labels = draws.randint(classes, size=size)
    pred = np.where(draws.rand(size) < 0.5, labels % clusters,
                    draws.randint(clusters, size=size))
    found = clustering_metrics(torch.tensor(labels), torch.tensor(pred))
    assert found['nmi'] == pytest.approx(
        sklearn_metrics.normalized_mutual_info_score(labels, pred))
    assert found['ari'] == pytest.approx(
        sklearn_metrics.adjusted_rand_score(labels, pred))
    assert found['fowlkes_mallows'] == pytest.approx(
        sklearn_metrics.fowlkes_mallows_score(labels, pred))


@pytest.mark.property
def test_names_of_clusters_do_not_matter():
    draws = np.random.RandomState(0)
    labels, pred = draws.randint(6, size=200), draws.randint(6, size=200)
    renamed = np.array([40, 3, 17, 0, 8, -2])[pred]
    assert clustering_metrics(labels, renamed) == pytest.approx(
        clustering_metrics(labels, pred))
    assert clustering_metrics(labels, (labels + 3) % 6) == pytest.approx(
        dict(nmi=1.0, ari=1.0, fowlkes_mallows=1.0, matched_accuracy=100.0))


@pytest.mark.unit
def test_matching_by_hand():
    # cluster 0 -> class 0 (2 right), cluster 1 -> class 1 (1 right); the
    # third cluster finds no class
    found = clustering_metrics(np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2]))
    assert found['matched_accuracy'] == 75.0


@pytest.mark.unit
def test_unlabelled_samples_are_left_out():
    table = contingency_table(np.array([0, -1, 1]), np.array([4, 4, 9]))
    assert table.tolist() == [[1, 0], [0, 1]]


@pytest.mark.unit
@pytest.mark.parametrize('labels, pred, text', [
    (np.zeros(3), np.zeros(3, int), 'labels: float64'),
    (np.zeros(3, int), np.zeros((3, 1), int), r'clusters.*\(3, 1\)'),
    (np.zeros(3, int), np.zeros(4, int), '3 labels and 4 clusters'),
    (np.full(3, -1), np.zeros(3, int), 'none of 3 samples'),
    (np.zeros(0, int), np.zeros(0, int), 'none of 0 samples'),
])
def test_bad_input(labels, pred, text):
    with pytest.raises(ConfigError, match=text):
        clustering_metrics(labels, pred)
