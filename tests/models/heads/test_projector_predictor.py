"""Projector and predictor, and Mugs' group head: the reference's numbers."""
from __future__ import annotations

import pytest
import torch
from toy_mugs import KEYS

from mimplug.errors import ConfigError
from mimplug.models.heads import ProjectorPredictorHead, PrototypeHead

SIZES = dict(in_channels=6, hidden_channels=10, out_channels=4,
             predictor_channels=8)


def reference_head(golden, name, **options):
    """A head of the file, in float64."""
    hyper = {key: golden.scalar(f'hyper/{key}')
             for key in golden.names('hyper/')}
    head = ProjectorPredictorHead(
        hyper['in_dim'], hidden_channels=hyper['hidden'],
        out_channels=hyper['out'], predictor_channels=hyper['pred_hidden'],
        num_layers=hyper['nlayers'], **options)
    head.load_state_dict(golden.tree(f'{name}/sd/'))
    return head.double()


def check_run(golden, key, function):
    """Output and gradient of one stored run."""
    x = golden.tensor('x').double().requires_grad_()
    out = function(x)
    exact = dict(rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(
        out.detach(), golden.tensor(f'{key}/out'), **exact)
    out.backward(golden.tensor(f'{key}/grad_out').double())
    torch.testing.assert_close(x.grad, golden.tensor(f'{key}/grad_x'),
                               **exact)


@pytest.mark.golden('mugs', 'heads')
@pytest.mark.parametrize('name, options', [
    ('instance', {}), ('local_group_nonorm', dict(norm_before_pred=False)),
    ('instance_bn', dict(norm='bn'))])
def test_reference_heads(golden, name, options):
    head = reference_head(golden, name, **options)
    runs = {f'{name}/prediction_train': (head.train, head),
            f'{name}/prediction_eval': (head.eval, head),
            f'{name}/target_eval': (head.eval, head.project)}
    stored = [key for key in runs if f'{key}/out' in golden]
    assert f'{name}/prediction_eval' in stored
    for key in stored:
        mode, function = runs[key]
        mode()
        check_run(golden, key, function)
        if key.endswith('train') and options:
            for buffer, value in head.state_dict().items():
                after = f'{name}/after_train_{buffer}'
                if 'running' in buffer:
                    torch.testing.assert_close(value, golden.tensor(after))


@pytest.mark.golden('mugs', 'heads')
def test_reference_group_head(golden):
    head = PrototypeHead(
        golden.scalar('hyper/in_dim'), golden.scalar('hyper/group_out'),
        hidden_channels=golden.scalar('hyper/hidden'),
        bottleneck_channels=golden.scalar('hyper/bottleneck'),
        norm_last_layer=False)
    state = KEYS.read({f'group_head.{name}': value for name, value
                       in golden.tree('group/sd/').items()})
    head.load_state_dict({name.removeprefix('group_head.'): value
                          for name, value in state.items()})
    head = head.double().eval()
    check_run(golden, 'group/logits_eval', head)
    weight = head.last_layer.parametrizations.weight
    for ours, theirs in ((weight.original0, 'g'), (weight.original1, 'v')):
        torch.testing.assert_close(
            ours.grad, golden.tensor(f'group/grad_weight_{theirs}'),
            rtol=1e-9, atol=1e-12)


@pytest.mark.unit
def test_a_teacher_has_no_predictor():
    student = ProjectorPredictorHead(**SIZES)
    teacher = ProjectorPredictorHead(**SIZES, with_predictor=False)
    teacher.load_state_dict({
        name: value for name, value in student.state_dict().items()
        if name.startswith('projector.')})
    x = torch.randn(5, 6)
    assert torch.equal(teacher(x), student.project(x))
    assert not torch.allclose(student(x), student.project(x))
    for out in (student(x), teacher(x)):
        torch.testing.assert_close(out.norm(dim=1), torch.ones(5))


@pytest.mark.unit
def test_initial_weights():
    torch.manual_seed(0)
    head = ProjectorPredictorHead(64, hidden_channels=256, out_channels=64)
    before = [p.clone() for p in head.predictor.parameters()]
    head.init_weights()
    for layer in head.projector[::2]:
        assert abs(layer.weight.std().item() - 0.02) < 1e-3
    assert all(map(torch.equal, before, head.predictor.parameters()))
    # PyTorch's own for 64 inputs
    assert abs(before[0].std().item() - 1 / (8 * 3**0.5)) < 2e-3


@pytest.mark.unit
@pytest.mark.parametrize('norm', ['bn', 'syncbn'])
def test_norms_stand_between_linear_layer_and_activation(norm):
    head = ProjectorPredictorHead(**SIZES, norm=norm)
    names = [type(layer).__name__ for layer in head.projector]
    assert names[1::3] == [dict(
        bn='BatchNorm1d', syncbn='SyncBatchNorm')[norm]] * 2
    assert len(names) == 7


@pytest.mark.unit
@pytest.mark.parametrize('options, words', [
    (dict(norm='ln'), 'norm'), (dict(out_channels=0), 'out_channels=0'),
    (dict(num_layers=0), 'num_layers=0')])
def test_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        ProjectorPredictorHead(**{**SIZES, **options})
