"""The mixing loss: golden of MixMask and Un-Mix, and what it is by hand."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mimplug.models.losses import InfoNCE, mix_targets
from mimplug.models.memory import RingBuffer

DOUBLE = torch.float64
CLOSE = dict(rtol=0, atol=1e-10)


def parts(golden, names):
    """Unit features of a golden, as leaves of a graph."""
    raw = {name: golden.tensor(name).requires_grad_() for name in names}
    return raw, {name: F.normalize(value, dim=1)
                 for name, value in raw.items()}


def flipped(lam, partner):
    """A mixture of the whole batch."""
    return lam.expand(len(partner)), partner


def terms_of(golden, unit, names, mixes):
    """Loss, targets, terms (Q, B, P)."""
    queue = golden.tensor('queue').T
    loss = InfoNCE(golden.scalar('temperature'))
    targets = mix_targets(len(unit['k']), mixes)
    query = torch.stack([unit[name] for name in names])
    return loss, targets, loss.terms(
        query, targets.positives(unit['k'].detach()), queue)


@pytest.mark.golden('mixmask', 'loss')
def test_single(golden):
    raw, unit = parts(golden, ['q', 'q_mixed', 'k'])
    reverse = torch.arange(len(unit['q'])).flip(0)
    loss, targets, terms = terms_of(
        golden, unit, ['q', 'q_mixed'],
        [flipped(golden.tensor('lam_single'), reverse)])
    means = terms.mean(1)
    for value, name in ((means[0, 0], 'loss_o'), (means[1, 0], 'loss_m'),
                        (means[1, 1], 'loss_m_flip')):
        torch.testing.assert_close(
            value, golden.tensor(f'single/{name}'), **CLOSE)
    whole = targets.sums(terms).sum()
    torch.testing.assert_close(whole, golden.tensor('single/loss'), **CLOSE)
    whole.backward()
    for name in ('q', 'q_mixed'):
        torch.testing.assert_close(
            raw[name].grad, golden.tensor(f'single/grad_{name}'), **CLOSE)
    queue, key = golden.tensor('queue').T, unit['k']
    for query, positive, name in (
            (unit['q'], key, 'logits'), (unit['q_mixed'], key, 'logits_m'),
            (unit['q_mixed'][reverse], key, 'logits_m_flip')):
        torch.testing.assert_close(
            loss.logits(query, positive, queue),
            golden.tensor(f'single/{name}'), **CLOSE)


@pytest.mark.golden('mixmask', 'loss')
def test_both(golden):
    _, unit = parts(golden, ['q', 'q_mixed', 'q_mask', 'k'])
    order = golden.tensor('perm')
    reverse = torch.arange(len(order)).flip(0)
    loss, targets, terms = terms_of(
        golden, unit, ['q', 'q_mixed', 'q_mask'],
        [flipped(golden.tensor('lam_unmix'), reverse),
         flipped(golden.tensor('lam_mask'), order)])
    means = terms.mean(1)
    for value, name in (
            (means[0, 0], 'loss_o'), (means[1, 0], 'loss_m'),
            (means[1, 1], 'loss_m_flip'), (means[2, 0], 'loss_mask'),
            (means[2, 1], 'loss_mask_flip')):
        torch.testing.assert_close(
            value, golden.tensor(f'both/{name}'), **CLOSE)
    torch.testing.assert_close(
        targets.sums(terms).sum(), golden.tensor('both/loss'), **CLOSE)
    queue = golden.tensor('queue').T
    back = torch.argsort(order)
    for query, name in ((unit['q_mask'], 'logits_mask'),
                        (unit['q_mask'][back], 'logits_mask_flip')):
        torch.testing.assert_close(
            loss.logits(query, unit['k'], queue),
            golden.tensor(f'both/{name}'), **CLOSE)
    buffer = RingBuffer(*queue.shape).double()
    buffer.rows.copy_(queue)
    buffer.enqueue(unit['k'])
    torch.testing.assert_close(
        buffer.columns, golden.tensor('queue_after'), **CLOSE)
    assert torch.equal(buffer.pointer, golden.tensor('ptr_after'))


@pytest.mark.unit
def test_by_hand():
    """Weights of each sample, and a partner of its own."""
    lam = torch.tensor([0.2, 0.9, 1.0], dtype=DOUBLE)
    partner = torch.tensor([1, 2, 0])
    targets = mix_targets(3, [(lam, partner)])
    values = torch.arange(6, dtype=DOUBLE).view(3, 2)
    assert torch.equal(targets.positives(values)[1, :, 1], values[partner])
    assert torch.equal(targets.positives(values)[0, :, 0], values)
    terms = torch.rand(2, 3, 2, dtype=DOUBLE)
    expected = torch.stack([
        terms[0, :, 0].mean(),
        (lam * terms[1, :, 0] + (1 - lam) * terms[1, :, 1]).mean()])
    torch.testing.assert_close(targets.sums(terms), expected)


@pytest.mark.unit
def test_without_mixtures_there_is_one_positive():
    targets = mix_targets(2, [])
    assert targets.partner.tolist() == [[[0], [1]]]
    assert targets.weight.tolist() == [[[1.0], [1.0]]]
