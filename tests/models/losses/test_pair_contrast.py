"""The contrastive third term: the reference's numbers, and its formula."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import Mask, MaskContext, Score
from mimplug.models.algorithms import PairTerm
from mimplug.models.losses import (
    ClusteringLoss,
    PairContrast,
    pair_terms,
    select_pairs,
    sharpen,
)
from mimplug.models.requested import token_weights
from mimplug.schedules import LinearThenConstant

EXACT = dict(rtol=1e-9, atol=1e-12)


class Logits(nn.Module):
    """A head whose tokens are logits already."""

    last_layer = None

    def project(self, tokens):
        return tokens

    def patch_logits(self, z):
        return z


class Given(Score):
    """Scores that a test says."""

    def __init__(self, values):
        self.values = values

    def __call__(self, context):
        return self.values


class Call:
    """One stored configuration."""

    def __init__(self, golden, number):
        self.golden, self.key = golden, f'cfg{number}/'
        count, self.tau, self.weight, epoch = golden['configs'][number]
        self.count, self.epoch = int(count), int(epoch)
        hp = {name: golden.scalar(f'hp/{name}')
              for name in golden.names('hp/')}
        epochs = hp['warmup_teacher_temp_epochs']
        self.schedules = [
            LinearThenConstant(hp['warmup_teacher_temp'],
                               hp['teacher_temp'], epochs),
            LinearThenConstant(hp['warmup_teacher_temp2'],
                               hp['teacher_temp2'], epochs)]
        self.loss = ClusteringLoss(
            golden['center'].size, golden['center2'].size,
            student_temperature=hp['student_temp'],
            center_momentum=hp['center_momentum'],
            patch_center_momentum=hp['center_momentum'],
            cls_weight=hp['lambda1'], patch_weight=hp['lambda2']).double()
        self.loss.cls_center.copy_(golden.tensor('center').ravel())
        self.loss.patch_center.copy_(golden.tensor('center2').ravel())
        self.views, self.batch = golden['masks'].shape[:2]
        self.student = golden.tensor('student_patch').requires_grad_()
        self.teacher = golden.tensor('teacher_patch')

    def __getitem__(self, name):
        return self.golden.tensor(self.key + name)

    @property
    def temperatures(self):
        return [schedule(self.epoch) for schedule in self.schedules]

    def features(self, source):
        """(M, L, K) probabilities of teacher or student."""
        if source == 'teacher':
            return sharpen(self.teacher, self.loss.patch_center,
                           self.temperatures[1])
        return (self.student / self.loss.student_temperature).softmax(-1)

    def pick(self, features, index):
        """Rows of the chosen patches, (B, 2k, K), crop by crop."""
        rows = torch.arange(len(features))[:, None]
        chosen = features[rows, index].unflatten(0, (self.views, -1))
        return torch.cat(tuple(chosen[:2]), dim=1)

    def context(self):
        grid = tuple(self.golden['masks'].shape[2:])
        return MaskContext(
            grid=grid, num_views=self.views, batch_size=self.batch,
            draws=HashDraws(0, 0, SampleKeys.arange(self.batch),
                            range(self.views)))

    def term(self, **kwargs):
        """The third term through the class that IBOT uses."""
        term = PairTerm(
            self.count, score=Given(self.golden.tensor('score')),
            temperature=self.tau, weight=self.weight, **kwargs)
        pairs = term.select(self.context())
        return term(
            pairs, self.student.flatten(0, 1)[pairs.student], self.teacher,
            heads=(Logits(), Logits()), clustering=self.loss,
            temperature=self.temperatures[1])


@pytest.fixture
def calls(golden):
    return [Call(golden, number) for number in range(len(golden['configs']))]


@pytest.mark.golden('thesis_masks', 'contrastive_loss')
def test_reference_pairs_and_temperatures(calls, golden):
    for call in calls:
        high, low = select_pairs(golden.tensor('score'), call.count)
        assert torch.equal(high, call['khigh'])
        assert torch.equal(low, call['klow'])
        assert call.temperatures == pytest.approx(
            [call['teacher_temp'].item(), call['teacher_patch_temp'].item()])


@pytest.mark.golden('thesis_masks', 'contrastive_loss')
def test_reference_value_of_the_release(calls):
    """The two sums of the reference, the whole term, and no gradient."""
    for call in calls:
        teacher = call.features('teacher')
        positive, negative = (
            call.pick(teacher, call[name]) for name in ('khigh', 'klow'))
        terms = pair_terms(positive, positive, negative,
                           temperature=call.tau, formula='reference')
        torch.testing.assert_close(
            terms.sum(), call['fullterm1'] + call['fullterm2'], **EXACT)
        value = call.term(source='teacher', formula='reference')
        torch.testing.assert_close(value, call['contrastive'], **EXACT)
        assert not value.requires_grad


@pytest.mark.golden('thesis_masks', 'contrastive_loss')
@pytest.mark.parametrize('name, kwargs', [
    ('infonce_teacher', dict(source='teacher')),
    ('infonce_student_anchor', dict()),
    ('infonce_student_all', dict(source='student_all')),
    ('ref_formula_on_student',
     dict(source='student_all', formula='reference')),
])
def test_reference_variants_and_their_gradients(calls, name, kwargs):
    for call in calls:
        value = call.term(**kwargs)
        torch.testing.assert_close(value, call[f'derived/{name}'], **EXACT)
        key = f'{call.key}derived/{name}_grad'
        assert value.requires_grad == (key in call.golden)
        if value.requires_grad:
            value.backward()
            expected = call.golden.tensor(key, torch.float64)
            peak = expected.abs().max().item()
            assert peak > 0
            # Stored in float32.
            torch.testing.assert_close(
                call.student.grad, expected, rtol=0, atol=1e-6 * peak)


@pytest.mark.golden('thesis_masks', 'contrastive_loss')
def test_reference_loss_beside_the_term(calls, golden):
    """CLS and patch terms, centres; their gradient is the whole one."""
    for call in calls:
        inputs = [golden.tensor(name).requires_grad_() for name in (
            'student_cls', 'student_patch', 'student_local_cls')]
        cls, patch, local = inputs
        mask = Mask(golden.tensor('masks').flatten(0, 1).unsqueeze(1))
        index, valid = mask.hidden_rows()
        teacher = golden.tensor('teacher_cls')
        losses = [
            call.loss.cls_loss(
                torch.cat((cls, local)).unflatten(0, (-1, call.batch)),
                teacher.unflatten(0, (-1, call.batch)),
                call.temperatures[0]),
            call.loss.patch_loss(
                patch.flatten(0, 1)[index],
                call.teacher.flatten(0, 1)[index],
                token_weights(mask, index, valid, dtype=torch.float64),
                call.temperatures[1])]
        for loss, name in zip(losses, ('cls', 'patch')):
            torch.testing.assert_close(loss, call[name], **EXACT)
        third = call.term(source='teacher', formula='reference')
        torch.testing.assert_close(
            sum(losses) + third, call['loss'], **EXACT)
        if f'{call.key}grad_student_cls' in golden:
            (sum(losses) + third).backward()
            for value, name in zip(inputs, ('cls', 'patch', 'local_cls')):
                torch.testing.assert_close(
                    value.grad, call[f'grad_student_{name}'], **EXACT)
        call.loss.observe(teacher.mean(0), call.teacher.mean((0, 1)))
        call.loss.step()
        for center, name in ((call.loss.cls_center, 'center_after'),
                             (call.loss.patch_center, 'center2_after')):
            torch.testing.assert_close(
                center, call[name].ravel(), **EXACT)


def sample(batch=3, anchors=4, rivals=5, width=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(2)
    return [torch.rand(batch, count, width, generator=generator,
                       dtype=torch.float64).to(dtype)
            for count in (anchors, anchors, rivals)]


def naive(anchor, positive, negative, tau, formula):
    """One pair after the other."""
    def cosine(a, b):
        return torch.dot(a, b) / (a.norm() * b.norm())

    total = 0.0
    for one, (a, p) in enumerate(zip(anchor, positive)):
        for t in range(len(a)):
            against = sum(torch.exp(cosine(a[t], n) / tau)
                          for n in negative[one])
            for m in range(len(p)):
                similar = cosine(a[t], p[m])
                inside = (torch.exp(similar / tau) if formula == 'infonce'
                          else similar)
                if m != t:
                    total += torch.log(inside + against) - similar / tau
    return total


@pytest.mark.property
@pytest.mark.parametrize('formula', ['infonce', 'reference'])
@pytest.mark.parametrize('normalise', [False, True])
def test_formula_pair_by_pair(formula, normalise):
    parts = sample()
    loss = PairContrast(0.3, weight=1.5, formula=formula,
                        normalise_pairs=normalise)
    expected = 1.5 * naive(*parts, 0.3, formula) / 12
    torch.testing.assert_close(
        loss(*parts), expected / 3 if normalise else expected)


@pytest.mark.property
def test_images_do_not_meet_and_length_does_not_count():
    parts = sample()
    loss = PairContrast()
    single = [loss(*(part[i:i + 1] for part in parts)) for i in range(3)]
    torch.testing.assert_close(loss(*parts), torch.stack(single).mean())
    torch.testing.assert_close(
        loss(*parts), loss(*(7 * part for part in parts)))


@pytest.mark.property
def test_nearer_positives_and_farther_negatives_are_better():
    anchor, _, negative = sample()
    loss = PairContrast()
    start = loss(anchor, anchor, negative)
    same = anchor[:, :1].expand_as(anchor)
    assert loss(same, same, negative) < start
    assert loss(same, same, -same) < loss(same, same, same)


@pytest.mark.unit
def test_one_patch_is_no_pair():
    parts = sample(anchors=1)
    assert PairContrast(normalise_pairs=True)(*parts).item() == 0


@pytest.mark.unit
def test_small_temperatures_and_half_precision_stay_finite():
    parts = sample(dtype=torch.bfloat16)
    parts[0].requires_grad_()
    with torch.autocast('cpu', torch.bfloat16):
        value = PairContrast(1e-3)(*parts)
    assert value.dtype == torch.float32
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(parts[0].grad).all()
    single = PairContrast(1e-3)(*(part.detach().float() for part in parts))
    torch.testing.assert_close(value.detach(), single)


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(temperature=0), 'temperature=0'),
    (dict(weight=-1), 'weight=-1'),
    (dict(formula='info_nce'), "did you mean 'infonce'"),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        PairContrast(**kwargs)
