"""Clustering loss against the reference's iBOTLoss and naive formulas."""
from __future__ import annotations

import pytest
import torch

from mimplug.errors import ConfigError
from mimplug.masking import Mask
from mimplug.models.losses import (
    ClusteringLoss,
    cross_view_loss,
    sharpen,
    weighted_token_loss,
)
from mimplug.models.requested import token_weights
from mimplug.schedules import LinearThenConstant


def temperatures(golden, case):
    """CLS and patch temperatures of one case by epoch."""
    number = {name: golden.scalar(f'hp/{name}') for name in (
        'warmup_teacher_temp', 'teacher_temp', 'warmup_teacher_temp2',
        'teacher_temp2', 'warmup_teacher_temp_epochs')}
    epochs = number['warmup_teacher_temp_epochs']
    return (LinearThenConstant(number['warmup_teacher_temp'],
                               number['teacher_temp'], epochs),
            LinearThenConstant(
                number['warmup_teacher_temp2'], number['teacher_temp2'],
                epochs, golden.scalar(f'{case}/mim_start_epoch')))


def run_call(golden, call, loss, schedules):
    """Loss terms of one stored call, and the student inputs."""
    inputs = {
        name: golden.tensor(f'{call}/{name}').requires_grad_()
        for name in ('student_cls', 'student_patch', 'student_local_cls')
        if f'{call}/{name}' in golden}
    teacher_cls = golden.tensor(f'{call}/teacher_cls')
    teacher_patch = golden.tensor(f'{call}/teacher_patch')
    hidden = golden.tensor(f'{call}/mask')
    views, batch = hidden.shape[:2]
    mask = Mask(hidden.flatten(0, 1).unsqueeze(1))
    index, valid = mask.hidden_rows()
    epoch = golden.scalar(f'{call}/epoch')
    cls = torch.cat([inputs['student_cls']] + [
        inputs[name] for name in inputs if 'local' in name])
    terms = (
        loss.cls_loss(cls.unflatten(0, (-1, batch)),
                      teacher_cls.unflatten(0, (views, batch)),
                      schedules[0](epoch)),
        loss.patch_loss(inputs['student_patch'].flatten(0, 1)[index],
                        teacher_patch.flatten(0, 1)[index],
                        token_weights(mask, index, valid),
                        schedules[1](epoch)))
    loss.observe(teacher_cls.mean(0), teacher_patch.mean((0, 1)))
    loss.step()
    return terms, inputs


@pytest.mark.golden('attmask_ibot', 'ibot_loss')
def test_reference_calls(golden):
    cases = [name for name in golden.names('') if f'{name}/lambda1' in golden]
    assert cases
    for case in cases:
        first = f'{case}/call0'
        loss = ClusteringLoss(
            golden[f'{first}/teacher_cls'].shape[-1],
            golden[f'{first}/teacher_patch'].shape[-1],
            student_temperature=golden.scalar('hp/student_temp'),
            center_momentum=golden.scalar('hp/center_momentum'),
            patch_center_momentum=golden.scalar('hp/center_momentum2'),
            cls_weight=golden.scalar(f'{case}/lambda1'),
            patch_weight=golden.scalar(f'{case}/lambda2'))
        schedules = temperatures(golden, case)
        calls = sorted(name for name in golden.names(f'{case}/')
                       if name.startswith('call'))
        assert calls
        for call in calls:  # in order: each starts from the last centres
            check_call(golden, f'{case}/{call}', loss, schedules)


def check_call(golden, call, loss, schedules):
    """Tolerances of the README: 1e-5 losses, 1e-6 centres and gradients."""
    (cls, patch), inputs = run_call(golden, call, loss, schedules)
    (cls + patch).backward()
    for value, name in ((cls, 'loss_cls'), (patch, 'loss_patch'),
                        (cls + patch, 'loss')):
        assert abs(value.item() - golden.scalar(f'{call}/{name}')) <= 1e-5
    for value, name in ((loss.cls_center, 'center_after'),
                        (loss.patch_center, 'center2_after')):
        torch.testing.assert_close(
            value, golden.tensor(f'{call}/{name}').flatten(),
            rtol=0, atol=1e-6)
    for name, value in inputs.items():
        torch.testing.assert_close(
            value.grad, golden.tensor(f'{call}/grad_{name}'),
            rtol=0, atol=1e-6)


@pytest.mark.golden('attmask_ibot', 'ibot_loss')
def test_reference_temperatures(golden):
    for case in golden.names(''):
        if f'{case}/teacher_temp_schedule' not in golden:
            continue
        for schedule, name in zip(temperatures(golden, case), (
                'teacher_temp_schedule', 'teacher_temp2_schedule')):
            expected = golden[f'{case}/{name}']
            assert [schedule(epoch) for epoch in range(len(expected))] == (
                pytest.approx(expected.tolist(), abs=1e-12))


def rand(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.property
@pytest.mark.parametrize('num_global, num_views, batch', [
    (2, 5, 3), (2, 2, 1), (1, 3, 2), (3, 3, 2)])
def test_cross_view_loss_is_the_mean_over_pairs(
        num_global, num_views, batch):
    torch.manual_seed(0)
    student = rand(num_views, batch, 6)
    target = rand(num_global, batch, 6).detach().softmax(-1)
    terms = [
        -(target[q] * (student[v] / 0.3).log_softmax(-1)).sum(-1).mean()
        for q in range(num_global) for v in range(num_views) if v != q]
    naive = sum(terms) / len(terms)
    value = cross_view_loss(student, target, 0.3)
    torch.testing.assert_close(value, naive, rtol=1e-12, atol=0)
    torch.testing.assert_close(*(
        torch.autograd.grad(loss, student)[0] for loss in (value, naive)),
        rtol=1e-10, atol=1e-14)


@pytest.mark.unit
def test_one_view_has_no_pair():
    student = rand(1, 4, 6)
    assert cross_view_loss(student, student.softmax(-1), 0.1).item() == 0


@pytest.mark.property
def test_token_loss_is_the_reference_s_mean():
    """Mean over rows of the mean over hidden tokens; empty rows count."""
    torch.manual_seed(0)
    rows, length = 4, 9
    hidden = torch.rand(rows, 1, 3, 3) < 0.5
    hidden[1] = False
    student, teacher = rand(rows, length, 5), rand(rows, length, 5).detach()
    target = teacher.softmax(-1)
    entropy = -(target * (student / 0.2).log_softmax(-1)).sum(-1)
    flat = hidden.flatten(1)
    naive = ((entropy * flat).sum(1) / flat.sum(1).clamp(min=1)).mean()
    for capacity in (int(flat.sum()), 20, rows * length):
        mask = Mask(hidden, capacity=capacity)  # with and without padding
        index, valid = mask.hidden_rows()
        weight = token_weights(mask, index, valid, dtype=torch.float64)
        assert weight.dtype == torch.float64
        value = weighted_token_loss(
            student.flatten(0, 1)[index], target.flatten(0, 1)[index],
            weight, 0.2)
        torch.testing.assert_close(value, naive, rtol=1e-12, atol=0)
    assert weight.sum().item() == pytest.approx(3 / 4)


@pytest.mark.unit
@pytest.mark.parametrize('capacity', [0, 5])
def test_nothing_hidden_gives_zero_and_zero_gradients(capacity):
    mask = Mask(torch.zeros(2, 1, 3, 3, dtype=torch.bool), capacity=capacity)
    index, valid = mask.hidden_rows()
    student = rand(18, 5)
    loss = ClusteringLoss(5).double()
    value = loss.patch_loss(
        student[index], torch.zeros(capacity, 5, dtype=torch.float64),
        token_weights(mask, index, valid), 0.1)
    assert value.item() == 0
    value.backward()
    assert torch.equal(student.grad, torch.zeros_like(student))


class TestCenters:

    @pytest.mark.unit
    def test_micro_batches_count_as_one(self):
        one, two = ClusteringLoss(4, 3), ClusteringLoss(4, 3)
        cls, patch = torch.randn(6, 4), torch.randn(6, 3)
        one.observe(cls.mean(0), patch.mean(0))
        for part in (slice(0, 3), slice(3, 6)):
            two.observe(cls[part].mean(0), patch[part].mean(0))
            assert not two.cls_center.any()
        for loss in (one, two):
            loss.step()
        torch.testing.assert_close(one.cls_center, 0.1 * cls.mean(0))
        torch.testing.assert_close(one.patch_center, 0.1 * patch.mean(0))
        torch.testing.assert_close(two.cls_center, one.cls_center)
        torch.testing.assert_close(two.patch_center, one.patch_center)

    @pytest.mark.unit
    def test_step_without_observation_moves_nothing(self):
        loss = ClusteringLoss(4)
        loss.observe(torch.ones(4), torch.ones(4))
        loss.step()
        before = loss.cls_center.clone()
        loss.step()
        assert torch.equal(before, loss.cls_center)

    @pytest.mark.unit
    @pytest.mark.parametrize('momentum', [0.0, 0.9])
    def test_a_skipped_step_moves_nothing_and_leaves_nothing(self, momentum):
        loss = ClusteringLoss(4, 3, center_momentum=momentum,
                              patch_center_momentum=momentum)
        loss.observe(torch.ones(4), torch.ones(3))
        loss.step(torch.tensor(True))
        before = loss.cls_center.clone(), loss.patch_center.clone()
        for finite, value in ((False, 7.0), (False, float('nan')),
                              (True, float('inf'))):
            loss.observe(torch.full((4,), value), torch.ones(3))
            loss.step(torch.tensor(finite))
            assert loss.pending is None
            assert loss.observed == 0
            assert torch.equal(loss.cls_center, before[0])
            assert torch.equal(loss.patch_center, before[1])
        loss.observe(torch.full((4,), 2.0), torch.ones(3))
        loss.step(torch.tensor(True))
        torch.testing.assert_close(
            loss.cls_center, momentum * before[0] + (1 - momentum) * 2)

    @pytest.mark.unit
    def test_flag_of_a_finite_step_changes_no_bit(self):
        one, two = ClusteringLoss(4), ClusteringLoss(4)
        for loss, flag in ((one, None), (two, torch.tensor(True))):
            loss.observe(torch.linspace(-1, 1, 4), torch.linspace(0, 3, 4))
            loss.step(flag)
        assert torch.equal(one.cls_center, two.cls_center)
        assert torch.equal(one.patch_center, two.patch_center)

    @pytest.mark.unit
    def test_own_momenta(self):
        loss = ClusteringLoss(2, center_momentum=0.5,
                              patch_center_momentum=1.0)
        loss.observe(torch.ones(2), torch.ones(2))
        loss.step()
        assert loss.cls_center.tolist() == [0.5, 0.5]
        assert loss.patch_center.tolist() == [0.0, 0.0]

    @pytest.mark.unit
    def test_state_is_the_two_centers(self):
        loss = ClusteringLoss(4, 3)
        loss.observe(torch.ones(4), torch.ones(3))
        shapes = {name: tuple(value.shape)
                  for name, value in loss.state_dict().items()}
        assert shapes == {'cls_center': (4,), 'patch_center': (3,)}

    @pytest.mark.unit
    def test_losses_read_the_center_before_the_step(self):
        loss = ClusteringLoss(4)
        student, teacher = torch.randn(2, 3, 4), torch.randn(2, 3, 4)
        before = loss.cls_loss(student, teacher, 0.05)
        loss.observe(teacher.mean((0, 1)), torch.zeros(4))
        assert torch.equal(before, loss.cls_loss(student, teacher, 0.05))
        loss.step()
        assert not torch.equal(before, loss.cls_loss(student, teacher, 0.05))


@pytest.mark.unit
def test_float32_under_autocast():
    loss = ClusteringLoss(6)
    student = torch.randn(2, 3, 6).bfloat16()
    teacher = torch.randn(2, 3, 6).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        half = loss.cls_loss(student, teacher, 0.04)
        rows = loss.patch_loss(student[0], teacher[0], torch.ones(3), 0.04)
    assert half.dtype == rows.dtype == torch.float32
    torch.testing.assert_close(
        half, loss.cls_loss(student.float(), teacher.float(), 0.04))


@pytest.mark.unit
def test_sharpen():
    logits, center = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([0., 1, 1])
    torch.testing.assert_close(
        sharpen(logits, center, 0.5),
        torch.tensor([[2.0, 2.0, 4.0]]).softmax(-1))
    assert logits.tolist() == [[1.0, 2.0, 3.0]]  # the input is not changed


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(student_temperature=0.0), 'student_temperature=0.0: must be > 0'),
    (dict(center_momentum=1.1), r'center_momentum=1.1: allowed is \[0, 1\]'),
    (dict(patch_center_momentum=-1), 'patch_center_momentum=-1'),
    (dict(cls_weight=-0.5), 'cls_weight=-0.5'),
    (dict(patch_weight=-2), 'patch_weight=-2'),
])
def test_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        ClusteringLoss(4, **kwargs)
