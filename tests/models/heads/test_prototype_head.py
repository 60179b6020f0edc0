"""The prototype head against the reference's heads."""
from __future__ import annotations

import pytest
import torch

from mimplug.converters import get_key_map
from mimplug.errors import ConfigError
from mimplug.models.heads import PrototypeHead

IBOT = get_key_map('ibot')
SECOND = 'head.last_layer2.parametrizations.weight.original1'


def reference_head(golden, case, **kwargs):
    """The head of one case with its weights."""
    state = IBOT.read({f'head.{name}': value for name, value
                       in golden.tree(f'{case}/sd/').items()})
    second = state.get(SECOND)
    with_prototypes = any('last_layer' in name for name in state)
    linear = [name for name, value in state.items()
              if 'mlp' in name and value.ndim == 2]
    head = PrototypeHead(
        golden.scalar('hp/in_dim'), golden.scalar('hp/out_dim'),
        None if second is None else len(second), shared=second is None,
        hidden_channels=golden.scalar('hp/hidden_dim'),
        bottleneck_channels=golden.scalar('hp/bottleneck_dim')
        if with_prototypes else 0, num_layers=len(linear), **kwargs)
    head.load_state_dict({name.removeprefix('head.'): value
                          for name, value in state.items()})
    return head


def close(value, expected):
    """Forward deviation that the acceptance allows in float32."""
    assert value.shape == expected.shape
    assert (value - expected).abs().max() / expected.abs().max() <= 2e-6


CASES = {
    'shared': dict(norm_last_layer=False),
    'separate': dict(norm_last_layer=True),
    'separate_relu_2layer': dict(
        norm_last_layer=False, act='relu'),
    'ln': dict(norm='ln', legacy_shared_norm=True),
}


@pytest.mark.golden('attmask_ibot', 'heads')
@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_reference_heads(golden, case):
    head = reference_head(golden, case, **CASES[case])
    cls, patch = head(golden.tensor('x_tokens'))
    close(cls, golden.tensor(f'{case}/cls'))
    close(patch, golden.tensor(f'{case}/patch'))
    if f'{case}/cls_2d' in golden:
        close(head(golden.tensor('x_cls')), golden.tensor(f'{case}/cls_2d'))


@pytest.mark.golden('attmask_ibot', 'heads')
@pytest.mark.parametrize('case', ['separate', 'separate_relu_2layer'])
def test_reference_frozen_magnitudes(golden, case):
    head = reference_head(golden, case, **CASES[case])
    expected = golden.tree(f'{case}/requires_grad/')
    assert expected
    names = IBOT.write({f'head.{name}': parameter
                        for name, parameter in head.named_parameters()})
    assert {name.removeprefix('head.'): parameter.requires_grad
            for name, parameter in names.items()} == {
                name: bool(flag) for name, flag in expected.items()}


@pytest.mark.golden('attmask_ibot', 'heads')
@torch.no_grad()
def test_reference_batch_norm(golden):
    head = reference_head(
        golden, 'bn_before', norm='bn', legacy_shared_norm=True)
    cls, patch = head.train()(golden.tensor('x_tokens'))
    close(cls, golden.tensor('bn/cls'))
    close(patch, golden.tensor('bn/patch'))
    after = golden.tree('bn_after/sd/')
    assert any('running' in name for name in after)
    for name, value in after.items():
        torch.testing.assert_close(head.state_dict()[name], value,
                                   rtol=1e-5, atol=1e-6)


@pytest.mark.golden('attmask_ibot', 'heads')
@pytest.mark.parametrize('case', ['dino', 'dino_nobottleneck'])
@torch.no_grad()
def test_reference_dino_heads(golden, case):
    head = reference_head(golden, case)
    close(head(golden.tensor('x_cls')), golden.tensor(f'{case}/out'))


def head(**kwargs):
    torch.manual_seed(0)
    built = PrototypeHead(8, 10, **{
        'hidden_channels': 12, 'bottleneck_channels': 6, **kwargs})
    built.init_weights()
    return built


@pytest.mark.unit
def test_parts_give_the_whole():
    model = head(shared=False, patch_prototypes=7)
    tokens = torch.randn(2, 5, 8)
    z = model.project(tokens)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(2, 5))
    cls, patch = model(tokens)
    assert cls.shape == (2, 10)
    assert patch.shape == (2, 4, 7)
    torch.testing.assert_close(cls, model.cls_logits(z[:, 0]))
    torch.testing.assert_close(patch, model.patch_logits(z[:, 1:]))
    # Any leading shape, no token among them.
    assert model.project(torch.zeros(0, 8)).shape == (0, 6)


@pytest.mark.unit
def test_mean_logit_is_the_logit_of_the_mean():
    model = head().double()
    z = model.project(torch.randn(50, 8, dtype=torch.float64))
    torch.testing.assert_close(model.patch_logits(z).mean(0),
                               model.patch_logits(z.mean(0)))


@pytest.mark.unit
def test_prototypes_have_their_magnitude_as_length():
    model = head(norm_last_layer=False)
    weight = model.last_layer.weight
    torch.testing.assert_close(weight.norm(dim=1), torch.ones(10))
    magnitude = model.last_layer.parametrizations.weight.original0
    assert magnitude.requires_grad
    with torch.no_grad():
        magnitude.mul_(3)
    torch.testing.assert_close(
        model.last_layer.weight.norm(dim=1), torch.full((10,), 3.0))
    frozen = head(norm_last_layer=True).last_layer
    assert not frozen.parametrizations.weight.original0.requires_grad
    assert frozen.parametrizations.weight.original1.requires_grad


@pytest.mark.unit
def test_shared_head_has_one_prototype_layer():
    names = [name for name, _ in head().named_parameters()]
    assert len(names) == len(set(names)) == 8
    assert not any('last_layer2' in name for name in names)
    assert len(list(head(shared=False).parameters())) == 10


@pytest.mark.unit
def test_norms_are_own_modules_unless_legacy():
    own, one = head(norm='ln'), head(norm='ln', legacy_shared_norm=True)
    assert own.mlp[1] is not own.mlp[4]
    assert one.mlp[1] is one.mlp[4]
    assert own.state_dict().keys() == one.state_dict().keys()
    assert not own.has_batch_norm
    assert head(norm='bn').has_batch_norm


@pytest.mark.unit
def test_initial_statistics():
    torch.manual_seed(0)
    model = PrototypeHead(64, 300, hidden_channels=256)
    direction = model.last_layer.parametrizations.weight.original1.clone()
    model.init_weights()
    for i in (0, 2, 4):
        assert model.mlp[i].weight.std().item() == pytest.approx(
            0.02, rel=0.05)
        assert not model.mlp[i].bias.any()
    assert torch.equal(
        direction, model.last_layer.parametrizations.weight.original1)
    # PyTorch's default for a linear layer of 256 inputs: U(-1/16, 1/16).
    assert direction.abs().max().item() == pytest.approx(1 / 16, rel=1e-2)


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(act='gelo'), "act='gelo': .*did you mean 'gelu'"),
    (dict(norm='bm'), "norm='bm': .*did you mean 'bn'"),
    (dict(patch_prototypes=11), '10 and 11; set shared=False'),
    (dict(num_layers=0), 'every size must be positive'),
    (dict(bottleneck_channels=-1), 'every size must be positive'),
])
def test_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        head(**kwargs)
