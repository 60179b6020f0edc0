"""Siamese algorithms on two processes: shuffled keys, and as on one."""
from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.distributed as torch_dist
from mmengine.model import MMDistributedDataParallel
from toy_moco_golden import (
    GivenFill,
    GivenMask,
    Watch,
    at,
    build_moco,
    permutation_table,
    replay,
)
from toy_ranks import on_two_ranks
from toy_siamese import (
    ALGORITHMS,
    GROUP_NORM,
    HARD,
    HEAD,
    MIXES,
    samples,
    tiny_siamese,
    total,
    two_views,
    view_mask,
)

from mimplug.schedules import Progress

pytestmark = pytest.mark.dist

DOUBLE = torch.float64
BATCH, STEPS, RTOL = 4, 2, 1e-5


def shuffled_step(golden) -> dict[str, Any]:
    """The golden's step on this rank."""
    rank = torch_dist.get_rank()
    fill = GivenFill(torch.zeros(()))
    hard = dict(
        mask_generator=GivenMask(torch.ones(1, 1, dtype=torch.bool)),
        fill=fill, cells=1, alpha=golden.scalar('alpha'))
    model = build_moco(golden, golden.tree('sd/'), 'SaliencyMoCo',
                       hard_negative=hard, interleave_keys=False)
    orders = golden.tensor('perm')
    replay(model, **{'shuffle/keys0': permutation_table(orders[0]),
                     'shuffle/hard0/0': permutation_table(orders[1])})
    model.set_progress(at(0))
    watch = Watch(model)
    *views, fill.images = golden.tensor('images', DOUBLE)[rank] / 8
    losses = model.loss(views)
    return dict(loss=total(losses).detach(), logits=watch.logits(),
                queue=model.queue.columns, pointer=model.queue.pointer,
                keys=watch.seen[1][0, 0, :, 0])


@pytest.mark.golden('saliency_moco', 'shuffle_2rank')
def test_shuffled_keys(golden, tmp_path):
    ranks = on_two_ranks(shuffled_step, golden, tmp_path)
    close = dict(rtol=1e-8, atol=1e-8)
    for name, expected in (('loss', 'loss'), ('logits', 'logits')):
        torch.testing.assert_close(
            torch.stack([rank[name] for rank in ranks]),
            golden.tensor(expected), **close)
    torch.testing.assert_close(
        torch.cat([rank['keys'] for rank in ranks]), golden.tensor('keys'),
        **close)
    for rank in ranks:
        torch.testing.assert_close(
            rank['queue'], golden.tensor('queue_after'), **close)
        assert torch.equal(rank['pointer'], golden.tensor('ptr_after'))


def norm_of(part: dict) -> dict:
    """A projector without batch norms."""
    return dict(part, norm_cfg=GROUP_NORM)


PROJECTED = dict(neck=norm_of(ALGORITHMS['SimCLR']['neck']))
PREDICTED = dict(PROJECTED, head=dict(
    HEAD, predictor=norm_of(HEAD['predictor'])))
MASKED = dict(view_masks=[view_mask()])
CASES = {
    'MoCo': dict(mixes=MIXES, shuffle_bn=False),
    'SaliencyMoCo': dict(MASKED, hard_negative=dict(HARD, num=2),
                         shuffle_bn=False, symmetric=True),
    'SimCLR': dict(PROJECTED, **MASKED, mixes=MIXES, hard_negative=HARD,
                   drop_partner=True),
    'BYOL': dict(PREDICTED, **MASKED, mixes=MIXES),
    'SimSiam': dict(PREDICTED, **MASKED, mixes=MIXES),
}


def partners(batch, draws, device):
    """Halves of the batch change places: pairs that stay on one rank."""
    return (torch.arange(batch, device=device) + batch // 2) % batch


def train(name: str) -> dict[str, Any]:
    """Some steps in float64, through DDP where there is a group."""
    rank, world = 0, 1
    model = tiny_siamese(name, backbone=dict(norm_cfg=GROUP_NORM),
                         **CASES[name]).double().train()
    for mixer in model.mixes:
        mixer.partners = partners
    wrapped: Any = model
    if torch_dist.is_initialized():
        rank, world = torch_dist.get_rank(), torch_dist.get_world_size()
        wrapped = MMDistributedDataParallel(model, broadcast_buffers=False)
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.05)
    rows = slice(rank, None, world)  # as the keyed sampler deals them out
    record: dict[str, Any] = dict(losses=[], gradients=[])
    for step in range(STEPS):
        model.set_progress(Progress(step, 10))
        views = two_views(BATCH, seed=step, dtype=DOUBLE)
        losses = wrapped([view[rows] for view in views],
                         samples(BATCH, BATCH * step)[rows], mode='loss')
        optimizer.zero_grad()
        total(losses).backward()
        record['losses'].append({key: value.detach()
                                 for key, value in losses.items()})
        record['gradients'].append({
            key: p.grad.clone() for key, p in model.named_parameters()
            if p.grad is not None})
        optimizer.step()
        model.step_end(0.9)
    record['state'] = model.state_dict()
    return record


def train_all(names: list[str]) -> dict[str, Any]:
    """All cases."""
    return {name: train(name) for name in names}


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """One process, and each rank of two."""
    folder = tmp_path_factory.mktemp('siamese')
    return [train_all(list(CASES)),
            *on_two_ranks(train_all, list(CASES), folder)]


def assert_close(value, expected, what):
    """Relative to the largest element."""
    limit = RTOL * expected.abs().max() + 1e-15
    assert (value - expected).abs().max() <= limit, what


@pytest.mark.full
@pytest.mark.parametrize('name', CASES)
def test_two_processes_are_one(name, runs):
    one, *ranks = (run[name] for run in runs)
    for step in range(STEPS):
        for key, value in one['losses'][step].items():
            mean = (ranks[0]['losses'][step][key]
                    + ranks[1]['losses'][step][key]) / 2
            assert_close(mean, value, f'{step} {key}')
        for key, value in one['gradients'][step].items():
            for rank in ranks:
                assert_close(rank['gradients'][step][key], value,
                             f'{step} {key}')
    assert one['gradients'][0]['backbone.conv1.weight'].abs().max() > 0
    for key, value in one['state'].items():
        assert torch.equal(ranks[0]['state'][key], ranks[1]['state'][key])
        assert_close(ranks[0]['state'][key].double(), value.double(), key)


@pytest.mark.full
@pytest.mark.parametrize('name', ['MoCo', 'SaliencyMoCo'])
def test_their_queues_hold_the_keys_of_all(name, runs):
    for run in runs:
        state = run[name]['state']
        stored = BATCH * STEPS * (2 if CASES[name].get('symmetric') else 1)
        assert state['queue.pointer'].item() == stored % 10
        assert state['queue.written'].sum() == min(stored, 10)
