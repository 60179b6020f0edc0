"""The guard where each process holds a part of every tensor."""
from __future__ import annotations

import pytest
import torch
from mmengine import dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from toy_ranks import on_two_ranks

from mimplug.engine.optim import OptimWrapper
from mimplug.models.teacher import Teacher

STEPS = 4


class Student(nn.Module):
    """Three rows cannot be halved evenly."""

    def __init__(self):
        super().__init__()
        self.backbone, mirror = (nn.Sequential(
            nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 3)) for _ in range(2))
        self.teacher = Teacher(backbone=mirror)

    def forward(self, images):
        return self.backbone(images)


def numbers(model):
    """Whole parameters, also of the teacher."""
    return [getattr(value, 'full_tensor', value.detach)().detach().clone()
            for value in model.parameters()]


def train(settings):
    """What each step did; step 1 breaks, on the last rank only."""
    rank, world = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(0)
    model = Student().double()
    if world > 1:
        fully_shard(model)
    parameters = [p for p in model.parameters() if p.requires_grad]
    wrapper = OptimWrapper(
        torch.optim.AdamW(parameters, lr=0.1, fused=settings['fused']),
        clip_grad=dict(max_norm=0.05, per_tensor=settings['per_tensor']))
    record = []
    for step in range(STEPS):
        before = numbers(model)
        images = torch.randn(
            4, 5, generator=torch.Generator().manual_seed(step),
            dtype=torch.float64)
        with wrapper.optim_context(model):
            loss = model(images[rank::world]).square().mean()
        if step == 1 and rank == world - 1:
            loss = loss * float('nan')
        wrapper.update_params(loss)
        model.teacher.update(model, 0.9, wrapper.finite)
        after = numbers(model)
        record.append(dict(
            finite=wrapper.finite.item(), skipped=wrapper.skipped.item(),
            norm=wrapper.grad_norm.item(), values=after,
            moved=not all(map(torch.equal, before, after))))
    return record


def train_all(settings):
    return [train(one) for one in settings]


@pytest.mark.dist
@pytest.mark.full
def test_shards_decide_and_clip_as_one(tmp_path):
    settings = [dict(fused=True, per_tensor=True),
                dict(fused=False, per_tensor=False)]
    whole = train_all(settings)
    for run in whole:
        assert [step['moved'] for step in run] == [True, False, True, True]
    for rank in on_two_ranks(train_all, settings, tmp_path):
        for run, reference in zip(rank, whole):
            for ours, theirs in zip(run, reference):
                check(ours, theirs)


def check(ours, theirs):
    """Equal decisions, norms and numbers of a step."""
    for key in ('finite', 'skipped', 'moved'):
        assert ours[key] == theirs[key], key
    assert ours['norm'] == pytest.approx(theirs['norm'], nan_ok=True)
    for left, right in zip(ours['values'], theirs['values']):
        torch.testing.assert_close(left, right)
