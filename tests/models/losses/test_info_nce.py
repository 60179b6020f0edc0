"""InfoNCE: goldens of MoCo with hard negatives and of Mugs, properties."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from mimplug.errors import ConfigError
from mimplug.models.losses import (
    InfoNCE,
    info_nce_terms,
    multi_view_weights,
)
from mimplug.models.memory import RingBuffer

DOUBLE = torch.float64


def unit(*shape, dtype=DOUBLE):
    """Random rows of length 1."""
    return F.normalize(torch.randn(*shape, dtype=dtype), dim=-1)


def naive(query, positive, queue, temperature, hard=None, alpha=1.0):
    """Cross-entropy over concatenated logits, as the papers write it."""
    parts = [(query * positive).sum(-1, keepdim=True), query @ queue.T]
    if hard is not None:
        parts.append(alpha * torch.einsum('bd,bnd->bn', query, hard))
    logits = torch.cat(parts, dim=1) / temperature
    labels = torch.zeros(len(logits), dtype=torch.long)
    return F.cross_entropy(logits, labels, reduction='none')


@pytest.mark.golden('saliency_moco', 'moco_logits')
@pytest.mark.parametrize('kind', ['intended', 'released'])
def test_moco_logits(golden, kind):
    raw = golden.tensor('q').requires_grad_()
    query = F.normalize(raw, dim=1)
    key = F.normalize(golden.tensor('k'), dim=1)
    hard = F.normalize(golden.tensor('t'), dim=2)
    option = 'per_sample'
    if kind == 'released':
        hard, option = hard[:, :1], 'first_image'
    loss = InfoNCE(golden.scalar('temperature'), golden.scalar('alpha'),
                   hard_negative=option)
    queue = RingBuffer(24, 8).double()
    queue.rows.copy_(golden.tensor('queue').T)
    close = dict(rtol=0, atol=1e-10)
    torch.testing.assert_close(
        loss.logits(query, key, queue.rows, hard=hard),
        golden.tensor(f'{kind}/logits'), **close)
    value = loss(query, key, queue.rows, hard=hard)
    torch.testing.assert_close(
        value, golden.tensor(f'{kind}/loss'), **close)
    queue.enqueue(key)
    torch.testing.assert_close(
        queue.columns, golden.tensor(f'{kind}/queue_after'), **close)
    assert torch.equal(queue.pointer, golden.tensor(f'{kind}/ptr_after'))
    value.backward()
    if kind == 'intended':
        torch.testing.assert_close(
            raw.grad, golden.tensor('intended/grad_q'), **close)


@pytest.mark.golden('mugs', 'infonce_loss')
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_mugs_loss(golden, dtype):
    batch, crops = golden.scalar('hyper/B'), golden.scalar('hyper/ncrops')
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5
    queue = RingBuffer(golden.scalar('hyper/queue'),
                       golden.scalar('hyper/dim')).to(dtype)
    queue.rows.copy_(golden.tensor('queue_before_0').T)
    loss = InfoNCE(golden.scalar('hyper/T'))
    weights = torch.tensor(
        multi_view_weights(2, crops), dtype=dtype).unsqueeze(1)
    for call in range(4):
        raw = golden.tensor(f'student_{call}', dtype).requires_grad_()
        teacher = golden.tensor(f'teacher_{call}', dtype).unflatten(
            0, (2, batch))
        value = loss(raw.unflatten(0, (crops, batch)),
                     teacher.transpose(0, 1), queue.rows, weights=weights)
        queue.enqueue(teacher)
        value.backward()
        assert abs(value.item() - golden.scalar(f'loss_{call}')) < tolerance
        torch.testing.assert_close(
            raw.grad.double(), golden.tensor(f'grad_student_{call}'),
            rtol=0, atol=tolerance)
        assert torch.equal(
            queue.columns.float(), golden.tensor(f'queue_after_{call}'))
        assert torch.equal(
            queue.pointer, golden.tensor(f'ptr_after_{call}'))


@pytest.mark.property
@pytest.mark.parametrize('batch', [1, 5])
@pytest.mark.parametrize('num_hard', [0, 1, 3])
def test_terms_equal_cross_entropy(batch, num_hard):
    torch.manual_seed(batch + num_hard)
    queue, key = unit(11, 6), unit(batch, 6)
    hard = unit(batch, num_hard, 6) if num_hard else None
    leaves = [unit(batch, 6).requires_grad_() for _ in range(2)]
    leaves[1].data.copy_(leaves[0].data)
    ours = info_nce_terms(leaves[0], key[:, None], queue, temperature=0.07,
                          hard=hard, alpha=2.0)[:, 0]
    theirs = naive(leaves[1], key, queue, 0.07, hard, 2.0)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(
        leaves[0].grad, leaves[1].grad, rtol=1e-11, atol=1e-11)


@pytest.mark.property
def test_gradients_by_finite_differences():
    torch.manual_seed(0)
    queue = unit(7, 4)

    def terms(query, positives, hard):
        return info_nce_terms(query, positives, queue, hard=hard, alpha=1.5)

    inputs = [unit(*shape).requires_grad_()
              for shape in ((2, 3, 4), (3, 2, 4), (3, 2, 4))]
    assert torch.autograd.gradcheck(terms, inputs)


@pytest.mark.property
def test_mixing_is_two_soft_terms():
    """MixMask: clean + lam x mixed + (1 - lam) x mixed against partner."""
    torch.manual_seed(2)
    queue, key = unit(9, 5), unit(4, 5)
    clean, mixed = unit(4, 5), unit(4, 5)
    lam = torch.rand(4, 1, dtype=DOUBLE)
    expected = (
        naive(clean, key, queue, 0.2).mean()
        + (lam[:, 0] * naive(mixed, key, queue, 0.2)).mean()
        + ((1 - lam[:, 0]) * naive(mixed, key.flip(0), queue, 0.2)).mean())
    weights = torch.stack([
        torch.tensor([1., 0.], dtype=DOUBLE).expand(4, 2),
        torch.cat([lam, 1 - lam], dim=1)])
    loss = InfoNCE(0.2)(
        torch.stack([clean, mixed]), torch.stack([key, key.flip(0)], dim=1),
        queue, weights=weights)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.property
def test_enqueue_before_backward_changes_nothing():
    torch.manual_seed(3)
    query, key = unit(4, 5), unit(4, 5)
    grads = []
    for overwrite in (False, True):
        torch.manual_seed(4)
        queue = RingBuffer(6, 5).double()
        leaf = query.clone().requires_grad_()
        loss = InfoNCE()(leaf, key, queue.rows)
        if overwrite:
            queue.enqueue(key)
        loss.backward()
        grads.append(leaf.grad)
    assert torch.equal(*grads)


@pytest.mark.property
@pytest.mark.parametrize('num_small', [0, 1, 4])
def test_multi_view_weights(num_small):
    weights = torch.tensor(multi_view_weights(2, 2 + num_small))
    assert abs(weights.sum() - 1) < 1e-6
    assert not weights.diagonal().any()
    if num_small:
        assert abs(weights[:2].sum() - 0.5) < 1e-6
    assert (weights[2:] == weights[2:].mean()).all() or not num_small


@pytest.mark.unit
def test_weights_without_any_large_pair():
    assert multi_view_weights(1, 3, num_large=1) == [[0.0], [0.5], [0.5]]
    with pytest.raises(ConfigError, match='num_queries=1'):
        multi_view_weights(1, 1)


@pytest.mark.unit
def test_default_weights_are_uniform():
    torch.manual_seed(5)
    query, positives, queue = unit(3, 4), unit(3, 2, 4), unit(8, 4)
    loss = InfoNCE()
    both = [loss(query, positives[:, p], queue) for p in (0, 1)]
    torch.testing.assert_close(loss(query, positives, queue), sum(both) / 2)


@pytest.mark.unit
def test_autocast_and_half_inputs_stay_precise():
    torch.manual_seed(6)
    query, key, queue = (unit(n, 32) for n in (4, 4, 64))
    exact = InfoNCE(0.07)(query, key, queue)
    half = [x.bfloat16() for x in (query, key)]
    rounded = InfoNCE(0.07)(*(x.double() for x in half), queue)
    leaf = half[0].clone().requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        loss = InfoNCE(0.07)(leaf, half[1], queue.float())
        loss.backward()
    assert loss.dtype == torch.float32
    assert leaf.grad.dtype == torch.bfloat16
    assert leaf.grad.isfinite().all()
    assert abs(loss - rounded) < 1e-5
    assert abs(loss - exact) < 0.05


@pytest.mark.unit
def test_extreme_logits_stay_finite():
    row = torch.tensor([[1., 0.]])
    leaf = row.clone().requires_grad_()
    worst = InfoNCE(1e-4)(leaf, -row, row)
    assert abs(worst.item() - 2e4) < 1
    worst.backward()
    assert leaf.grad.isfinite().all()
    assert InfoNCE(1e-4)(row, row, -row).item() == 0


@pytest.mark.unit
def test_only_hard_negatives():
    torch.manual_seed(7)
    query, key, hard = unit(3, 4), unit(3, 4), unit(3, 2, 4)
    logits = torch.cat([(query * key).sum(1, keepdim=True),
                        torch.einsum('bd,bnd->bn', query, hard)], dim=1) / 0.2
    torch.testing.assert_close(
        InfoNCE()(query, key, hard=hard),
        F.cross_entropy(logits, torch.zeros(3, dtype=torch.long)))


@pytest.mark.unit
def test_built_by_type_and_bad_values():
    built = MODELS.build(dict(type='mimplug.InfoNCE', temperature=0.1))
    assert built.temperature == 0.1
    for options, words in (
            (dict(temperature=0.0), r'temperature=0\.0'),
            (dict(alpha=-1.0), r'alpha=-1\.0'),
            (dict(hard_negative='first'), "did you mean 'first_image'")):
        with pytest.raises(ConfigError, match=words):
            InfoNCE(**options)


@pytest.mark.unit
def test_missing_negatives_and_trainable_queue():
    row = torch.ones(1, 2)
    with pytest.raises(ValueError, match='no negative'):
        InfoNCE()(row, row)
    with pytest.raises(ValueError, match='requires_grad=True'):
        InfoNCE()(row, row, row.clone().requires_grad_())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_no_host_sync():
    query = unit(8, 16, dtype=torch.float32).cuda().requires_grad_()
    key, queue = query.detach().clone(), torch.randn(64, 16, device='cuda')
    loss = InfoNCE()
    loss(query, key, queue).backward()
    torch.cuda.set_sync_debug_mode('error')
    try:
        loss(query, key, queue).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')
