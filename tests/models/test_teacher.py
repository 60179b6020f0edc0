"""The moving average of a student."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from mimplug.errors import ConfigError
from mimplug.models.teacher import Teacher


class Student(nn.Module):
    """A part with a buffer, and one that has more than the teacher's."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head = nn.Linear(4, 2)
        self.head.extra = nn.Parameter(torch.ones(5))


@pytest.fixture
def pair():
    torch.manual_seed(0)
    teacher = Teacher(
        backbone=nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)),
        head=nn.Linear(4, 2))
    return Student(), teacher


@pytest.mark.unit
def test_update_is_the_moving_average(pair):
    student, teacher = pair
    before = {name: value.clone()
              for name, value in teacher.named_parameters()}
    values = dict(student.named_parameters())
    teacher.update(student, 0.7)
    assert before.keys() == values.keys() - {'head.extra'}
    for name, value in teacher.named_parameters():
        torch.testing.assert_close(
            value, 0.7 * before[name] + 0.3 * values[name])


@pytest.mark.unit
def test_first_update_copies_nothing_and_one_keeps_everything(pair):
    student, teacher = pair
    before = teacher.head.weight.clone()
    teacher.update(student, 1.0)
    assert torch.equal(teacher.head.weight, before)
    teacher.update(student, 0.0)
    torch.testing.assert_close(teacher.head.weight, student.head.weight)


@pytest.mark.unit
def test_buffers_are_the_teacher_s_own(pair):
    student, teacher = pair
    student.backbone(torch.randn(8, 3))
    mean = student.backbone[1].running_mean
    teacher.update(student, 0.5)
    assert not teacher.backbone[1].running_mean.any()
    teacher.copy_from(student)
    assert torch.equal(teacher.backbone[1].running_mean, mean)
    assert mean is not teacher.backbone[1].running_mean


@pytest.mark.unit
def test_copy_is_exact_and_independent(pair):
    student, teacher = pair
    teacher.copy_from(student)
    for part in ('backbone', 'head'):
        theirs = getattr(student, part).state_dict()
        for name, value in getattr(teacher, part).state_dict().items():
            assert torch.equal(value, theirs[name])
    with torch.no_grad():
        student.head.weight.add_(1)
    assert not torch.equal(student.head.weight, teacher.head.weight)


@pytest.mark.unit
def test_teacher_takes_no_gradient(pair):
    student, teacher = pair
    assert not any(p.requires_grad for p in teacher.parameters())
    teacher.update(student, 0.9)  # the student's parameters require one
    assert not any(p.requires_grad for p in teacher.parameters())


@pytest.mark.unit
def test_names_are_those_of_the_parts(pair):
    _, teacher = pair
    assert set(teacher.state_dict()) == {
        'backbone.0.weight', 'backbone.0.bias', 'backbone.1.weight',
        'backbone.1.bias', 'backbone.1.running_mean',
        'backbone.1.running_var', 'backbone.1.num_batches_tracked',
        'head.weight', 'head.bias'}


@pytest.mark.unit
def test_errors(pair):
    student, teacher = pair
    with pytest.raises(ConfigError, match='at least one network'):
        Teacher()
    with pytest.raises(ConfigError, match=r'momentum=1\.5: allowed'):
        teacher.update(student, 1.5)
    student.head = nn.Linear(4, 3)
    with pytest.raises(ConfigError, match=r'teacher head.weight \(2, 4\)'):
        teacher.copy_from(student)
