"""The iBOT algorithm: batches, draws, precision."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_ibot import (
    GENERATORS,
    gradients,
    make_samples,
    make_views,
    student_parameters,
    tiny_ibot,
    total,
)

from mimplug.schedules import Progress


@pytest.mark.unit
@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('num_locals', [0, 2])
def test_every_parameter_gets_a_gradient(generator, shared, num_locals):
    """Also when nothing is hidden: find_unused_parameters stays False."""
    model = tiny_ibot(mask_generator=GENERATORS[generator],
                      head=dict(shared=shared))
    losses, grads = gradients(model, make_views(num_locals=num_locals))
    assert all(torch.isfinite(value) for value in losses.values())
    missing = [name for name, grad in grads.items() if grad is None]
    assert not missing
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert not any(p.requires_grad for p in model.teacher.parameters())
    if generator == 'none':
        assert losses['loss_patch'].item() == 0
        assert not grads['backbone.mask_token'].any()
    elif generator in ('low', 'random'):
        assert grads['backbone.mask_token'].any()


@pytest.mark.unit
@pytest.mark.parametrize('batch, num_globals, num_locals, sizes', [
    (1, 2, 0, (16, 8)), (1, 1, 0, (16, 8)), (1, 1, 3, (16, 12)),
    (5, 3, 1, (24, 20))])
def test_batches_of_any_make_up(batch, num_globals, num_locals, sizes):
    model = tiny_ibot(num_globals=num_globals)
    views = make_views(batch, num_locals, sizes=sizes,
                       num_globals=num_globals)
    losses, _ = gradients(model, views)
    assert all(torch.isfinite(value) for value in losses.values())
    assert (losses['loss_cls'].item() > 0) == (num_globals + num_locals > 1)
    assert losses['loss_patch'].item() > 0


@pytest.mark.unit
def test_local_views_of_several_sizes_and_other_channels():
    model = tiny_ibot(backbone=dict(in_channels=1))
    views = [*make_views(2, 1, channels=1),
             *make_views(2, 1, sizes=(0, 12), num_globals=0, channels=1)]
    losses, _ = gradients(model, views)
    assert torch.isfinite(total(losses))


@pytest.mark.unit
def test_images_that_are_not_square():
    model = tiny_ibot()
    views = [view[..., :12] for view in make_views(2, 0)]
    losses, _ = gradients(model, views)
    assert torch.isfinite(total(losses))
    assert model.preview_masks(views)['hidden'].shape == (4, 4, 3)


@pytest.mark.unit
def test_log_has_two_weighted_losses_and_no_total():
    model = tiny_ibot(loss=dict(cls_weight=0.5, patch_weight=2.0))
    plain = tiny_ibot()
    plain.load_state_dict(model.state_dict())
    views = make_views()
    weighted, losses = model.loss(views), plain.loss(views)
    assert {name for name in weighted if 'loss' in name} == {
        'loss_cls', 'loss_patch'}
    torch.testing.assert_close(weighted['loss_cls'],
                               0.5 * losses['loss_cls'])
    torch.testing.assert_close(weighted['loss_patch'],
                               2 * losses['loss_patch'])
    assert weighted['raw/hidden'].item() == pytest.approx(6 / 16)
    parsed, log = model.parse_losses(losses)
    torch.testing.assert_close(parsed, total(losses))
    assert not any(value.requires_grad for value in log.values()
                   if value is not parsed and 'raw' in str(value))


@pytest.mark.unit
def test_agreement_of_equal_views_and_networks_is_one():
    model = tiny_ibot(mask_generator=dict(type='mimplug.NoMask'))
    view = make_views(4, 0)[0]
    assert model.loss([view, view])['raw/agreement'].item() == 1


@pytest.mark.unit
def test_temperatures_follow_the_epoch():
    model = tiny_ibot(
        teacher_temperature=dict(start=0.02, final=0.2, warmup_epochs=2),
        patch_temperature=dict(start=0.02, final=0.2, warmup_epochs=2,
                               hold_epochs=1))
    views = make_views()
    values = []
    for epoch in range(3):
        model.set_progress(Progress(0, 10, epoch, 5))
        losses = model.loss(views)
        values.append([losses['loss_cls'].item(),
                       losses['loss_patch'].item()])
    (cls0, patch0), (cls1, patch1), (cls2, patch2) = values
    assert cls0 != cls1 == cls2
    assert patch0 == patch1 != patch2


class TestDraws:

    @pytest.mark.unit
    def test_same_position_same_numbers(self):
        model = tiny_ibot(backbone=dict(drop_path_rate=0.5),
                          mask_generator=GENERATORS['random'])
        views, samples = make_views(), make_samples()
        first, grads = gradients(model, views, samples)
        torch.manual_seed(99)  # the global generator plays no part
        second, again = gradients(model, views, samples)
        for name, value in first.items():
            assert torch.equal(value, second[name]), name
        for name, grad in grads.items():
            assert torch.equal(grad, again[name]), name
        # Another epoch of the same images: other draws.
        other = model.loss(views, make_samples(epoch=1))
        assert other['loss_patch'] != first['loss_patch']

    @pytest.mark.unit
    def test_draws_belong_to_the_image(self):
        """A sample has its masks and drop path in any batch."""
        model = tiny_ibot(backbone=dict(drop_path_rate=0.5),
                          mask_generator=GENERATORS['random'])
        views, samples = make_views(4, 1), make_samples(4)
        order = [2, 0]
        some = [view[order] for view in views]
        chosen = [samples[i] for i in order]
        whole = model.preview_masks(views, samples)['hidden']
        part = model.preview_masks(some, chosen)['hidden']
        assert torch.equal(part.unflatten(0, (2, 2)),
                           whole.unflatten(0, (2, 4))[:, order])
        whole, part = (
            torch.tensor(np.concatenate(
                model.drop_path_draws(v, s, [len(s)] * 3)))
            for v, s in ((views, samples), (some, chosen)))
        assert torch.equal(part.unflatten(0, (3, 2)),
                           whole.unflatten(0, (3, 4))[:, order])

    @pytest.mark.unit
    def test_seed_and_views_change_the_draws(self):
        views, samples = make_views(), make_samples()
        masks = []
        for seed in (0, 0, 1):
            model = tiny_ibot(draws_seed=seed,
                              mask_generator=GENERATORS['random'])
            masks.append(model.preview_masks(views, samples)['hidden'])
        assert torch.equal(masks[0], masks[1])
        assert not torch.equal(masks[0], masks[2])
        first, second = masks[0].chunk(2)
        assert not torch.equal(first, second)

    @pytest.mark.unit
    def test_no_drop_path_without_rate_or_in_evaluation(self):
        model, views = tiny_ibot(), make_views()
        assert model.drop_path_draws(views, None, [6, 6]) == [None, None]
        model = tiny_ibot(backbone=dict(drop_path_rate=0.5))
        model.eval()
        assert model.drop_path_draws(views, None, [6, 6]) == [None, None]


@pytest.mark.unit
@pytest.mark.parametrize('generator', ['high', 'hint', 'block'])
def test_preview_shows_the_masks_of_the_step(generator, monkeypatch):
    model = tiny_ibot(mask_generator=GENERATORS[generator])
    views, samples = make_views(), make_samples()
    made = []
    make_mask = model.make_mask
    monkeypatch.setattr(model, 'make_mask', lambda *args: made.append(
        make_mask(*args)) or made[-1])
    model.loss(views, samples)
    shown = model.preview_masks(views, samples)
    assert torch.equal(shown['hidden'], made[0].hidden[:, 0])
    assert torch.equal(shown['images'], torch.cat(views[:2]))
    assert shown['attention'].shape == (6, 4, 4)
    assert (shown['attention'].flatten(1).sum(1) < 1).all()


@pytest.mark.unit
def test_preview_of_the_single_view_of_an_evaluation_pipeline():
    model, samples = tiny_ibot(), make_samples(5)
    view, = make_views(5, num_globals=1, num_locals=0)
    shown = model.preview_masks([view], samples)
    assert shown['hidden'].shape == shown['attention'].shape == (5, 4, 4)
    assert (shown['hidden'].sum((1, 2)) == 6).all()  # of 16, ratio 0.4


class TestPrecision:

    @pytest.mark.unit
    @pytest.mark.parametrize('generator', ['high', 'random'])
    def test_bfloat16_is_close_to_float32(self, generator):
        model = tiny_ibot(mask_generator=GENERATORS[generator])
        views, samples = make_views(), make_samples()
        exact, grads = gradients(model, views, samples)
        with torch.autocast('cpu', torch.bfloat16):
            losses = model.loss(views, samples)
        assert losses['loss_cls'].dtype == torch.float32
        for name in ('loss_cls', 'loss_patch'):
            torch.testing.assert_close(losses[name], exact[name],
                                       rtol=0.05, atol=0.05)
        model.zero_grad()
        total(losses).backward()
        for name, parameter in student_parameters(model).items():
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.dtype == grads[name].dtype

    @pytest.mark.unit
    def test_checkpointing_changes_no_number(self):
        views, samples = make_views(), make_samples()
        results = []
        for with_cp in (False, True):
            model = tiny_ibot(
                backbone=dict(with_cp=with_cp, drop_path_rate=0.3))
            results.append(gradients(model, views, samples))
        (losses, grads), (again, regrads) = results
        for name, value in losses.items():
            assert torch.equal(value, again[name]), name
        for name, grad in grads.items():
            assert torch.equal(grad, regrads[name]), name
