"""Every fill and every mixture trains every siamese algorithm."""
from __future__ import annotations

import inspect

import pytest
import torch
from toy_siamese import (
    ALGORITHMS,
    RANDOM,
    samples,
    tiny_siamese,
    total,
    two_views,
    view_mask,
)

from mimplug.masking import Fill, Mixer
from mimplug.registry import TASK_UTILS
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit

STEPS, BATCH = 2, 4
FAST = {('MeanFill-0', 'SaliencyMoCo'), ('BlurFill-0', 'SimCLR'),
        ('NoiseFill-0', 'BYOL'), ('ConstantFill-0', 'SimSiam'),
        ('HighPassFill-0', 'MoCo'), ('MixFill-0', 'SimSiam'),
        ('UnMix-0', 'SimCLR'), ('MaskMix-0', 'BYOL')}


def registered(base) -> dict[str, dict]:
    """Configs of all examples of the parts of one kind."""
    return {f'{name}-{i}': dict(example, type=f'mimplug.{name}')
            for name, part in sorted(TASK_UTILS.module_dict.items())
            if inspect.isclass(part) and issubclass(part, base)
            for i, example in enumerate(part.examples)}


FILLS, MIXERS = registered(Fill), registered(Mixer)


def settings(part: str, name: str) -> dict:
    """An algorithm with one part in all places that take it."""
    if part in MIXERS:
        return dict(mixes=[MIXERS[part]], symmetric=True)
    chosen = dict(view_masks=[view_mask(
        fill=FILLS[part], mask_generator=RANDOM)])
    if name in ('SaliencyMoCo', 'SimCLR'):
        chosen['hard_negative'] = dict(
            mask_generator=RANDOM, fill=FILLS[part], cells=4)
    return chosen


CASES = [pytest.param(part, name, marks=() if (part, name) in FAST
                      else pytest.mark.full)
         for part in (*FILLS, *MIXERS) for name in ALGORITHMS]


@pytest.mark.parametrize('part,name', CASES)
def test_two_steps(part, name):
    model = tiny_siamese(name, **settings(part, name)).train()
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(STEPS):
        model.set_progress(Progress(step, STEPS))
        views = two_views(BATCH, seed=step)
        losses = model.loss(views, samples(BATCH, BATCH * step))
        optimizer.zero_grad()
        total(losses).backward()
        assert total(losses).isfinite()
        for key, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, key
        assert model.backbone.conv1.weight.grad.abs().max() > 0
        optimizer.step()
        model.step_end(0.9)
    if hasattr(model, 'queue'):
        stored = BATCH * STEPS * len(model.pairs)
        assert model.queue.pointer.item() == stored % model.queue.capacity
    check_masks(model, views)


def check_masks(model, views):
    """Every image has places of its own, and another fill there."""
    if not model.view_masks:
        return
    seen = model.look(views, samples(BATCH))
    hidden = seen.masks[0].hidden.flatten(1).int()
    assert len(torch.unique(hidden, dim=0)) > 1
    changed = (seen.query[0] != seen.clean[0]).any(1).float()
    cells = torch.nn.functional.max_pool2d(changed, 8)
    fill = model.view_masks[0].masker.fill
    if type(fill).__name__ == 'HighPassFill':  # changes what is seen as well
        return
    assert (cells.flatten(1) <= hidden).all()
    # a random partner may be the image itself
    if getattr(fill, 'partner', None) != 'permutation':
        assert torch.equal(cells.flatten(1).int(), hidden)


def test_the_fast_ones_exist_and_show_every_part_and_algorithm():
    parts, names = (set(column) for column in zip(*FAST))
    assert parts <= {*FILLS, *MIXERS}
    assert names == set(ALGORITHMS)
    assert ({part.split('-')[0] for part in parts}
            == {part.split('-')[0] for part in (*FILLS, *MIXERS)})
