"""iBOT with the contrastive third term."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from toy_ibot import (
    gradients,
    make_samples,
    make_views,
    student_parameters,
    tiny_ibot,
    total,
)

from mimplug.errors import ConfigError
from mimplug.masking import AttentionMask, LogScore, RandomMask, RawScore
from mimplug.models.losses import PairContrast, select_pairs

SOURCES = ('student_anchor', 'student_all', 'teacher')
FEATURES = ('prototype_probs', 'bottleneck', 'backbone')


def pair_ibot(pair_term=(), **kwargs):
    return tiny_ibot(pair_term=dict(pair_term), **kwargs).double()


def views_of(model, **kwargs):
    return make_views(dtype=torch.float64, num_globals=model.num_globals,
                      **kwargs)


def requested(model, monkeypatch):
    """The arguments of the student's passes of a step."""
    seen, student = [], model._student
    monkeypatch.setattr(
        model, '_student', lambda images, drop, **kwargs: seen.append(
            kwargs) or student(images, drop, **kwargs))
    return seen


def by_hand(model, views, count, source, features):
    """The term from all tokens of both networks, image after image."""
    images = torch.cat(views[:2])
    teacher = model.teacher.backbone.encode(images, cls_rows=[-1])
    mask = model.make_mask(images, teacher, None)
    student = model.backbone.encode(images, hidden=mask.tokens)

    def embed(encoded, head, center, temperature):
        tokens = encoded.patches
        if features == 'backbone':
            return tokens
        z = head.project(tokens)
        if features == 'bottleneck':
            return z
        return ((head.patch_logits(z) - center) / temperature).softmax(-1)

    theirs = embed(teacher, model.teacher.head,
                   model.loss_module.patch_center,
                   model.patch_temperature(model.progress.epoch)).detach()
    ours = embed(student, model.head, 0.0,
                 model.loss_module.student_temperature)
    anchor = theirs if source == 'teacher' else ours
    other = ours if source == 'student_all' else theirs
    attention = teacher.attention[model.backbone.num_layers - 1]
    high, low = select_pairs(attention[:, :, 1:].mean(1), count)
    batch, terms = len(views[0]), []
    for image in range(batch):
        crops = (image, batch + image)
        rows = [torch.cat([part[row][index[row]] for row in crops])[None]
                for part, index in ((anchor, high), (other, high),
                                    (other, low))]
        terms.append(PairContrast(0.2, weight=1.5)(*rows))
    return torch.stack(terms).mean()


@pytest.mark.property
@pytest.mark.parametrize('source', SOURCES)
@pytest.mark.parametrize('features', FEATURES)
def test_term_and_gradient_by_hand(source, features):
    model = pair_ibot(dict(num_pairs=3, source=source, features=features,
                           weight=1.5))
    with torch.no_grad():
        model.loss_module.patch_center.normal_()
        for parameter in model.teacher.parameters():  # not the student
            parameter.add_(0.05 * torch.randn_like(parameter))
    views = views_of(model)
    expected = by_hand(model, views, 3, source, features)
    value = model.loss(views)['loss_pair']
    torch.testing.assert_close(value, expected)
    assert value.requires_grad == (source != 'teacher')
    if source == 'teacher':
        return
    parameters = student_parameters(model)
    grads, wanted = (torch.autograd.grad(
        x, parameters.values(), allow_unused=True)
        for x in (value, expected))
    reached = {name for name, grad in zip(parameters, grads)
               if grad is not None and grad.any()}
    assert {'backbone.layers.0.attn.qkv.weight',
            'backbone.mask_token'} <= reached
    assert any(name.startswith('head.') for name in reached) == (
        features != 'backbone')
    for name, grad, want in zip(parameters, grads, wanted):
        if want is not None:
            torch.testing.assert_close(grad, want, msg=name)


@pytest.mark.unit
@pytest.mark.parametrize('source, share', [
    ('student_anchor', 1), ('student_all', 2), ('teacher', 0)])
def test_pairs_join_the_requested_patches(source, share, monkeypatch):
    """And nothing else: hidden patches, then those that the term reads."""
    model = pair_ibot(dict(num_pairs=4, source=source))
    seen = requested(model, monkeypatch)
    model.loss(views_of(model))
    masked, *local = seen
    hidden = 6 * int(0.4 * 16)
    assert len(masked['patches']) == hidden + share * 3 * 2 * 4
    assert local == [{}]


@pytest.mark.unit
@pytest.mark.parametrize('source', SOURCES)
def test_last_block_rule_changes_no_number(source):
    results = []
    for rule in (True, False):
        model = pair_ibot(dict(source=source), last_block_rule=rule)
        results.append(gradients(model, views_of(model)))
    (losses, grads), (again, regrads) = results
    for name, value in losses.items():
        torch.testing.assert_close(value, again[name], msg=name)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, regrads[name], msg=name)


@pytest.mark.unit
def test_other_terms_stay_as_they_were():
    plain, model = tiny_ibot().double(), pair_ibot()
    views = views_of(model)
    losses, with_term = plain.loss(views), model.loss(views)
    assert with_term.keys() - losses.keys() == {'loss_pair'}
    for name, value in losses.items():
        torch.testing.assert_close(value, with_term[name], msg=name)
    # As released: the gradient of the whole loss is that without the term.
    model = pair_ibot(dict(source='teacher', formula='reference'))
    _, grads = gradients(plain, views)
    losses, again = gradients(model, views)
    assert losses['loss_pair'].item() > 0
    for name, grad in grads.items():
        torch.testing.assert_close(grad, again[name], msg=name)


@pytest.mark.unit
def test_a_step_on_the_term_lowers_it():
    model = pair_ibot(dict(num_pairs=4))
    views, samples = views_of(model), make_samples()
    optimizer = torch.optim.SGD(student_parameters(model).values(), lr=0.05)
    values = []
    for _ in range(5):
        optimizer.zero_grad()
        loss = model.loss(views, samples)['loss_pair']
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < values[0]


@pytest.mark.unit
def test_score_is_that_of_the_masks_unless_given():
    log = AttentionMask(score=LogScore(0))
    assert pair_ibot(mask_generator=log).pair_term.score is log.score
    model = pair_ibot(mask_generator=RandomMask(0.3))
    assert isinstance(model.pair_term.score, RawScore)
    assert model.needs.cls_rows == (1,)
    given = dict(type='mimplug.RolloutScore', order='reversed')
    model = pair_ibot(dict(score=given), mask_generator=log)
    # The leftmost layer gives its row, which the masks want as well.
    assert (model.needs.cls_rows, model.needs.full) == ((0,), (1,))
    assert torch.isfinite(total(model.loss(views_of(model))))


@pytest.mark.unit
@pytest.mark.parametrize('crops, num_globals', [
    ((0, 1), 3), ((2, 0), 3), ((1,), 2), ((0, 1, 2), 3)])
def test_crops_that_take_part(crops, num_globals):
    model = pair_ibot(dict(crops=crops, num_pairs=2),
                      num_globals=num_globals)
    views = views_of(model, num_locals=0)
    start = model.loss(views)['loss_pair']
    assert torch.isfinite(start)
    for crop in range(num_globals):
        changed = [*views]
        changed[crop] = F.pad(views[crop][..., 1:], (0, 1))
        same = torch.equal(model.loss(changed)['loss_pair'], start)
        assert same == (crop not in crops)


@pytest.mark.unit
@pytest.mark.parametrize('batch, grid', [(1, (4, 4)), (2, (4, 3))])
def test_any_batch_and_grid(batch, grid):
    model = pair_ibot(dict(num_pairs=2))
    views = [view[..., :4 * grid[1]]
             for view in views_of(model, batch=batch, num_locals=0)]
    losses, grads = gradients(model, views)
    assert torch.isfinite(total(losses))
    assert all(grad is not None for grad in grads.values())


@pytest.mark.property
@pytest.mark.parametrize('source', SOURCES)
def test_nothing_is_read_from_the_device(source, monkeypatch):

    def refuse(*args, **kwargs):
        raise AssertionError('a tensor was read on the host')

    model = pair_ibot(dict(source=source))
    views = views_of(model)
    with monkeypatch.context() as patch:
        for name in ('item', 'tolist', 'cpu', 'numpy', 'nonzero',
                     '__float__', '__int__', '__bool__', '__index__'):
            patch.setattr(torch.Tensor, name, refuse)
        total(model.loss(views)).backward()
    assert model.backbone.mask_token.grad.any()


@pytest.mark.unit
def test_bfloat16_is_close_to_float32():
    model = tiny_ibot(pair_term={})
    views = make_views()
    exact = model.loss(views)['loss_pair']
    with torch.autocast('cpu', torch.bfloat16):
        loss = model.loss(views)['loss_pair']
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)
    loss.backward()
    assert model.backbone.mask_token.grad.isfinite().all()


@pytest.mark.unit
@pytest.mark.parametrize('pair_term, message', [
    (dict(num_pairs=0), 'num_pairs=0'),
    (dict(num_pairs=2.5), r'num_pairs=2\.5'),
    (dict(num_pairs=9), r'num_pairs=9: allowed is \[1, 8\]'),
    (dict(source='student'), "did you mean 'student_all'"),
    (dict(features='logits'), 'prototype_probs, bottleneck'),
    (dict(crops=(0, 2)), 'num_globals=2'),
    (dict(crops=(0, 0)), 'different positions'),
    (dict(crops=()), 'different positions'),
    (dict(crops=(1,), num_pairs=1), 'a single patch'),
    (dict(temperature=0), 'temperature=0'),
    (dict(formula='reference', features='backbone'), 'prototype_probs'),
    (dict(score=RawScore(7)), 'layer=7'),
    (dict(score=dict(type='RawScor')), "did you mean 'RawScore'"),
])
def test_wrong_arguments(pair_term, message):
    with pytest.raises(ConfigError, match=message):
        pair_ibot(pair_term)


@pytest.mark.unit
def test_a_head_without_bottleneck():
    with pytest.raises(ConfigError, match='a head that has none'):
        pair_ibot(dict(features='bottleneck'),
                  head=dict(bottleneck_channels=0))


@pytest.mark.unit
def test_a_generator_for_each_crop_of_another_number():
    views = dict(type='mimplug.PerView', generators=[
        dict(type='AttentionMask', layer=layer) for layer in (0, 1, 1)])
    assert tiny_ibot(mask_generator=views, num_globals=3)
    with pytest.raises(ConfigError, match='made for 3 views'):
        tiny_ibot(mask_generator=views)
