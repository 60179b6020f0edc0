"""SemMAE-like parts and HPM's hard patches."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimplug.errors import ConfigError
from mimplug.masking import HardPatchMask, PartMask, cluster_tokens
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit


def parts_of(make_context, labels, batch=1, epoch=0, epochs=10):
    """A context whose features are one direction for each part."""
    labels = torch.as_tensor(labels)
    features = torch.eye(int(labels.max()) + 1)[labels]
    context = make_context(batch=batch, views=1, grid=(1, len(labels)))
    return replace(context, progress=Progress(0, 1, epoch, epochs),
                   features=features.expand(batch, *features.shape))


def test_clusters_are_found():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 3, (2, 40), generator=generator)
    noise = torch.randn(2, 40, 6, generator=generator)
    features = 5 * torch.eye(6)[truth] + 0.3 * noise
    labels = cluster_tokens(features, torch.tensor([0, 7]), 3, 4)
    for row in range(2):
        pairs = {(int(a), int(b)) for a, b in zip(truth[row], labels[row])}
        assert len(pairs) == 3


def test_clustering_moves_its_centres():
    """Token 4 is nearer to the farthest token, but to the mean of others."""
    angles = torch.tensor([0.0, 60, 61, 62, 70, 130]).deg2rad()
    features = torch.stack((angles.cos(), angles.sin()), -1)[None]
    first = torch.tensor([0])
    assert cluster_tokens(features, first, 2, 1)[0].tolist() == [
        0, 0, 0, 0, 1, 1]
    # the means are now at 46 and 100 degrees
    assert cluster_tokens(features, first, 2, 2)[0].tolist() == [
        0, 0, 0, 0, 0, 1]


def test_clustering_takes_equal_and_zero_features():
    for features in (torch.ones(2, 5, 3), torch.zeros(2, 5, 3)):
        labels = cluster_tokens(features, torch.tensor([0, 1]), 3, 3)
        assert labels.shape == (2, 5)
        assert labels.min() >= 0
        assert labels.max() < 3
        # nothing tells the tokens apart; empty parts stay empty
        assert (labels == labels[:, :1]).all()


def test_first_a_portion_of_every_part(make_context):
    """Long before the end: half of each part of 4, 8 and 12 tokens."""
    labels = [0] * 4 + [1] * 8 + [2] * 12
    context = parts_of(make_context, labels, 40, epoch=0, epochs=1000)
    hidden = PartMask(0.5, num_parts=3)(context).tokens
    for part, number in ((slice(0, 4), 2), (slice(4, 12), 4),
                         (slice(12, 24), 6)):
        assert (hidden[:, part].sum(1) == number).all()
    assert (hidden.float().mean(0) - 0.5).abs().max() < 0.3


def test_at_last_whole_parts(make_context):
    """In the last epoch parts are hidden whole, in random order."""
    labels = [0] * 6 + [1] * 6 + [2] * 6 + [3] * 6
    context = parts_of(make_context, labels, 200, epoch=9)
    hidden = PartMask(0.5, num_parts=4)(context).tokens
    sizes = hidden.unflatten(1, (4, 6)).sum(2)
    assert (sizes.sort(1).values == torch.tensor([0, 0, 6, 6])).all()
    assert ((sizes > 0).float().mean(0) - 0.5).abs().max() < 0.15


def test_counts_follow_the_formula(make_context):
    """Against a loop over images and parts, as the reference has it."""
    labels = [0] * 5 + [1] * 3 + [2] * 9 + [3] * 7
    context = parts_of(make_context, labels, 6, epoch=4)
    generator = PartMask(0.6, num_parts=4)
    sizes = torch.tensor([[5, 3, 9, 7]]).expand(6, 4)
    found = generator.part_counts(sizes, context)
    turn = context.draws.host_uniform('part/order', 4)
    share = 1 - 0.5**2
    for row in range(6):
        left = int(24 * 0.6)
        for part in np.argsort(-turn[row]):
            size = int(sizes[row, part])
            whole = min(size, max(0, left))
            left -= size
            wanted = round(share * round(0.6 * size) + (1 - share) * whole)
            assert found[row, part] == wanted


def test_more_parts_than_tokens():
    with pytest.raises(ConfigError, match='num_parts=7'):
        PartMask().check((2, 3))
    with pytest.raises(ConfigError, match='iterations'):
        PartMask(iterations=0)


@pytest.mark.parametrize('epoch, share', [(0, 0.05), (9, 0.5)])
def test_hard_patches_are_hidden_more_with_every_epoch(
        epoch, share, make_context):
    context = make_context(batch=300, views=1, grid=(5, 8))
    difficulty = torch.arange(40.0).expand(300, 40)
    context = replace(context, difficulty=difficulty,
                      progress=Progress(0, 1, epoch, 10))
    hidden = HardPatchMask(0.5)(context).tokens
    assert (hidden.sum(1) == 20).all()
    sure = int(20 * share)
    assert hidden[:, 40 - sure:].all()
    others = hidden[:, :40 - sure].float().mean(0)
    assert (others - (20 - sure) / (40 - sure)).abs().max() < 0.15


def test_hard_patches_need_a_prediction(make_context):
    with pytest.raises(ConfigError, match='needs difficulty'):
        HardPatchMask()(make_context())


def test_a_share_and_another_rule_exclude_each_other():
    rule = dict(type='GumbelSelector')
    with pytest.raises(ConfigError, match='exclude each other'):
        HardPatchMask(max_share=0.5, select=rule)
    assert HardPatchMask().select.end == 0.5
    assert HardPatchMask(max_share=0.0).select.end == 0.0
