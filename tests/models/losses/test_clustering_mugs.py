"""The clustering loss with the pair weights of Mugs."""
from __future__ import annotations

import pytest
import torch

from mimplug.models.losses import (
    ClusteringLoss,
    cross_view_loss,
    multi_view_weights,
)
from mimplug.schedules import LinearThenConstant


@pytest.mark.golden('mugs', 'clustering_loss')
def test_reference_calls(golden):
    hyper = {name: golden.scalar(f'hyper/{name}')
             for name in golden.names('hyper/')}
    loss = ClusteringLoss(
        hyper['out_dim'], 0, student_temperature=hyper['student_temp'],
        center_momentum=hyper['center_momentum']).double()
    temperature = LinearThenConstant(
        hyper['warm_temp'], hyper['temp'], hyper['warm_epochs'])
    torch.testing.assert_close(
        torch.tensor([temperature(i) for i in range(hyper['epochs'])],
                     dtype=torch.float64),
        golden.tensor('teacher_temp_schedule'), rtol=1e-12, atol=0)
    weights = torch.tensor(multi_view_weights(2, hyper['ncrops'])).double()
    loss.cls_center.copy_(golden.tensor('center_before_0')[0])
    for call in range(4):
        student = golden.tensor(f'student_{call}').double().requires_grad_()
        teacher = golden.tensor(f'teacher_{call}').double()
        value = loss.cls_loss(
            student.unflatten(0, (hyper['ncrops'], -1)),
            teacher.unflatten(0, (2, -1)),
            temperature(golden.scalar(f'epoch_{call}')), weights)
        loss.observe(teacher.mean(0))
        exact = dict(rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(
            value.detach(), golden.tensor(f'loss_{call}'), **exact)
        value.backward()
        torch.testing.assert_close(
            student.grad, golden.tensor(f'grad_student_{call}'), **exact)
        loss.step()
        torch.testing.assert_close(
            loss.cls_center, golden.tensor(f'center_after_{call}')[0],
            **exact)


@pytest.mark.unit
def test_equal_weights_are_the_mean_over_pairs():
    student, target = torch.randn(4, 3, 7), torch.rand(2, 3, 7)
    weights = torch.full((4, 2), 1 / 6)
    weights[0, 0] = weights[1, 1] = 0
    torch.testing.assert_close(
        cross_view_loss(student, target, 0.1, weights),
        cross_view_loss(student, target, 0.1))


@pytest.mark.unit
def test_without_patch_term():
    loss = ClusteringLoss(5, 0, center_momentum=0.5)
    assert loss.patch_center.shape == (0, )
    loss.observe(torch.ones(5))
    loss.step(torch.tensor(True))
    assert torch.equal(loss.cls_center, torch.full((5, ), 0.5))
