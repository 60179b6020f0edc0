"""MoCo with hard negatives and mixtures, step by step as released."""
from __future__ import annotations

import pytest
import torch
from golden_file import Golden
from toy_moco_golden import (
    DOUBLE,
    GivenFill,
    GivenMask,
    Watch,
    at,
    build_moco,
    check_state,
    gradients,
    permutation_table,
    replay,
    sgd,
)
from toy_siamese import total

CLOSE = dict(rtol=1e-8, atol=1e-8)


def beside(golden, suffix: str) -> Golden:
    """The state file of a golden."""
    return Golden(golden.path.with_name(f'{golden.path.stem}_{suffix}.npz'))


def views(golden, step: int) -> list[torch.Tensor]:
    """Images of a step: query, key, and perhaps the hard negative."""
    return list(golden.tensor('images', DOUBLE)[step] / 8)


def check_step(golden, model, step, losses, watch):
    """Loss, logits, queue and pointer of a step."""
    torch.testing.assert_close(
        total(losses), golden.tensor(f'step{step}/loss'), **CLOSE)
    torch.testing.assert_close(
        watch.logits(), golden.tensor(f'step{step}/logits'), **CLOSE)
    torch.testing.assert_close(
        model.queue.columns, golden.tensor(f'step{step}/queue'), **CLOSE)
    assert torch.equal(
        model.queue.pointer, golden.tensor(f'step{step}/ptr'))


def check_gradients(golden, model):
    """The gradients that the golden holds."""
    ours = gradients(model)
    expected = golden.tree('grad/')
    assert expected
    for name, value in expected.items():
        key = name if name in ours else f'encoder_q.{name}'
        torch.testing.assert_close(ours[key], value, **CLOSE)


def saliency_model(golden, fill, compat='per_sample'):
    """SaliencyMoCo whose hard negatives are given."""
    state = beside(golden, 'sd0').tree('sd/')
    return build_moco(
        golden, state, 'SaliencyMoCo', hard_negative_compat=compat,
        hard_negative=dict(
            mask_generator=GivenMask(torch.ones(1, 1, dtype=torch.bool)),
            fill=fill, cells=1, alpha=golden.scalar('alpha')))


@pytest.mark.golden('saliency_moco', 'moco_step')
def test_two_steps_with_hard_negatives(golden):
    fill = GivenFill(torch.zeros(()))
    model = saliency_model(golden, fill)
    optimizer, watch = sgd(golden, model), Watch(model)
    for step in range(2):
        model.set_progress(at(step))
        *images, fill.images = views(golden, step)
        losses = model.loss(images)
        optimizer.zero_grad()
        total(losses).backward()
        if step == 0:
            check_gradients(golden, model)
        optimizer.step()
        model.step_end(0.5)
        check_step(golden, model, step, losses, watch)
    check_state(model, beside(golden, 'sd2'))


@pytest.mark.golden('saliency_moco', 'moco_step')
def test_the_released_hard_negative(golden):
    fill = GivenFill(torch.zeros(()))
    model = saliency_model(golden, fill, 'first_image')
    watch = Watch(model)
    model.set_progress(at(0))
    *images, fill.images = views(golden, 0)
    losses = model.loss(images)
    torch.testing.assert_close(
        watch.logits(), golden.tensor('logits_released'), **CLOSE)
    torch.testing.assert_close(
        total(losses), golden.tensor('loss_released'), **CLOSE)


def mask_mix(golden, step, **kwargs):
    """MixMask with the grid of a golden, where 1 is kept."""
    grid = golden.tensor('mask_grid')[step] == 0
    return dict(type='mimplug.MaskMix', mask_generator=GivenMask(grid),
                grid=tuple(grid.shape), **kwargs)


@pytest.mark.golden('mixmask', 'moco_step', 'moco_step_both')
def test_two_steps_of_mixtures(golden):
    both = 'lam_unmix' in golden
    mixes = [mask_mix(golden, 0,
                      partner='permutation' if both else 'reverse')]
    model = build_moco(golden, beside(golden, 'sd0').tree('sd/'),
                       mixes=[dict(type='mimplug.UnMix', prob=1.0), *mixes]
                       if both else mixes)
    optimizer, watch = sgd(golden, model), Watch(model)
    for step in range(2):
        model.set_progress(at(step))
        model.mixes[-1].mask_generator.hidden = (
            golden.tensor('mask_grid')[step] == 0)
        if both:
            replay(model, **{
                'unmix/global': 0.0,
                'unmix/lam': golden['lam_unmix'][step],
                'mix/partner': permutation_table(
                    golden.tensor('perm')[step])})
        losses = model.loss(views(golden, step))
        optimizer.zero_grad()
        total(losses).backward()
        if step == 0:
            check_gradients(golden, model)
        optimizer.step()
        check_step(golden, model, step, losses, watch)
        pieces = [losses['raw/clean'], *(
            losses[f'raw/mix{i}/{name}'] for i in range(len(model.mixes))
            for name in ('own', 'partner'))]
        torch.testing.assert_close(
            torch.stack(pieces), golden.tensor(f'step{step}/pieces'), **CLOSE)
        last = losses[f'raw/mix{len(model.mixes) - 1}/lam']
        torch.testing.assert_close(
            last.double(), golden.tensor(f'step{step}/lam'), **CLOSE)
    check_state(model, beside(golden, 'sd2'))
