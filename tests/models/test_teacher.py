"""The moving average of a student."""
from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from mimplug.errors import ConfigError
from mimplug.models.teacher import Teacher, move_towards


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


@pytest.mark.unit
@pytest.mark.parametrize('momentum', [0.0, 0.3, 0.996, 1.0])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_flag_of_a_step(pair, momentum, dtype):
    student, teacher = (module.to(dtype) for module in pair)
    other = copy.deepcopy(teacher)
    before = [value.clone() for value in teacher.parameters()]
    teacher.update(student, momentum, torch.tensor(False))
    assert all(map(torch.equal, teacher.parameters(), before))
    teacher.update(student, momentum, torch.tensor(True))
    other.update(student, momentum)
    assert all(map(torch.equal, teacher.parameters(), other.parameters()))


@pytest.mark.unit
def test_flag_with_parameters_of_several_types(pair):
    student, teacher = pair
    student.head.double()
    teacher.head.double()
    teacher.update(student, 0.0, torch.tensor(True))
    assert torch.equal(teacher.head.weight, student.head.weight)


@pytest.mark.unit
@pytest.mark.parametrize('weight', [0.0, 0.004, 0.5, 1.0])
def test_the_kernels_for_cuda_interpolate(weight):
    torch.manual_seed(0)
    mine = [torch.randn(shape) for shape in ((3, 4), (7,), ())]
    theirs = [torch.randn_like(tensor) for tensor in mine]
    before = [tensor.clone() for tensor in mine]
    move_towards(mine, theirs, torch.tensor(weight))
    if weight == 0.0:
        assert all(map(torch.equal, mine, before))
    for new, old, other in zip(mine, before, theirs):
        torch.testing.assert_close(new, old.lerp(other, weight))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_flag_on_cuda(pair):
    student, teacher = (module.cuda() for module in pair)
    other = copy.deepcopy(teacher)
    before = [value.clone() for value in teacher.parameters()]
    flags = torch.tensor([False, True], device='cuda').unbind()
    torch.cuda.set_sync_debug_mode('error')
    try:
        teacher.update(student, 0.9, flags[0])
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert all(map(torch.equal, teacher.parameters(), before))
    teacher.update(student, 0.9, flags[1])
    other.update(student, 0.9)
    torch.testing.assert_close(
        list(teacher.parameters()), list(other.parameters()))


class TestKeptPairs:
    """The moving average finds its parameters however they change places."""

    @staticmethod
    def follows(teacher, student):
        teacher.update(student, 0.0)
        theirs = dict(student.named_parameters())
        return all(torch.equal(value, theirs[name])
                   for name, value in teacher.named_parameters())

    @staticmethod
    def disturb(student):
        for parameter in student.parameters():
            parameter.data += 1.0

    @pytest.mark.unit
    def test_they_are_kept(self, pair):
        student, teacher = pair
        teacher.update(student, 0.5)
        kept = teacher._pairs
        teacher.update(student, 0.5)
        assert teacher._pairs is kept

    @pytest.mark.unit
    @pytest.mark.parametrize('copied', [
        copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
    def test_copies(self, pair, copied):
        self.follows(pair[1], pair[0])
        student, teacher = copied(nn.ModuleList(pair))
        self.disturb(student)
        before = [value.clone() for value in pair[1].parameters()]
        assert self.follows(teacher, student)
        assert all(map(torch.equal, pair[1].parameters(), before))
        alone = copy.deepcopy(pair[1])  # without its student
        self.disturb(pair[0])
        assert self.follows(alone, pair[0])

    @pytest.mark.unit
    def test_another_student(self, pair):
        student, teacher = pair
        self.follows(teacher, student)
        assert self.follows(teacher, Student())

    @pytest.mark.unit
    @pytest.mark.parametrize('change', [
        lambda module: module.double(),
        lambda module: module.load_state_dict(
            {name: value + 3 for name, value in module.state_dict().items()}),
        lambda module: module.load_state_dict(
            {name: value + 3 for name, value in module.state_dict().items()},
            assign=True)])
    def test_moved_or_loaded(self, pair, change):
        self.follows(pair[1], pair[0])
        for module in pair:
            change(module)
        assert self.follows(pair[1], pair[0])

    @pytest.mark.unit
    def test_replaced_parameter(self, pair):
        student, teacher = pair
        self.follows(teacher, student)
        student.backbone[0].weight = nn.Parameter(torch.zeros(4, 3))
        assert self.follows(teacher, student)
        teacher.head.bias = nn.Parameter(torch.ones(2), requires_grad=False)
        assert self.follows(teacher, student)

    @pytest.mark.unit
    def test_the_state_dict_knows_nothing_of_them(self, pair):
        student, teacher = pair
        names = set(teacher.state_dict())
        teacher.update(student, 0.5)
        assert set(teacher.state_dict()) == names
        assert {name.split('.')[0] for name, _ in teacher.named_modules()
                if name} == {'backbone', 'head'}
