"""Parameter groups and the learning-rate rule."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from mimplug.engine.optim import (
    OptimWrapper,
    TwoGroupConstructor,
    scaled_lr,
)
from mimplug.errors import ConfigError


class Network(nn.Module):
    """One parameter of each kind."""

    def __init__(self):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.ones(1, 5, 4))
        self.patch_embed = nn.Conv2d(3, 4, 2)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 4)
        self.head.weight.requires_grad_(False)
        self.gain = nn.Parameter(torch.ones(()))


def build(paramwise_cfg=None, **kwargs):
    kwargs.setdefault('optimizer', dict(
        type='AdamW', lr=0.1, weight_decay=0.04))
    return TwoGroupConstructor(kwargs, paramwise_cfg)


def names(model, group):
    return [name for name, parameter in model.named_parameters()
            if any(parameter is other for other in group['params'])]


@pytest.mark.unit
def test_two_groups():
    model = Network()
    wrapper = build(clip_grad=dict(max_norm=1.0))(model)
    assert type(wrapper) is OptimWrapper
    decay, no_decay = wrapper.optimizer.param_groups
    assert names(model, decay) == ['pos_embed', 'patch_embed.weight']
    assert names(model, no_decay) == [
        'gain', 'patch_embed.bias', 'norm.weight', 'norm.bias', 'head.bias']
    assert (decay['weight_decay'], no_decay['weight_decay']) == (0.04, 0.0)
    assert (decay['lr'], no_decay['lr']) == (0.1, 0.1)


@pytest.mark.unit
def test_bias_of_two_dimensions_is_not_decayed():
    model = nn.Module()
    model.bias = nn.Parameter(torch.ones(2, 2))
    model.part = nn.Module()
    model.part.bias = nn.Parameter(torch.ones(2, 2))
    groups = build().groups(model)
    # The reference looks for the ending '.bias', which a direct child of
    # the model lacks.
    assert [names(model, group) for group in groups] == [
        ['bias'], ['part.bias']]


@pytest.mark.unit
def test_lr_mult_splits_groups():
    model = Network()
    wrapper = build(dict(lr_mult={'patch_embed': 0.2,
                                  'patch_embed.bias': 0.5}))(model)
    found = {(group['name'], group['lr_mult']): (
        names(model, group), group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups}
    assert found[('decay', 0.2)] == (
        ['patch_embed.weight'], pytest.approx(0.02), 0.04)
    assert found[('no_decay', 0.5)] == (
        ['patch_embed.bias'], pytest.approx(0.05), 0.0)
    assert found[('decay', 1.0)][0] == ['pos_embed']
    assert len(found) == 4


@pytest.mark.unit
def test_other_wrappers_can_be_named():
    wrapper = build(type='OptimWrapper')(Network())
    assert type(wrapper) is not OptimWrapper
    assert len(wrapper.optimizer.param_groups) == 2


@pytest.mark.unit
def test_configs_are_not_changed():
    cfg = dict(optimizer=dict(type='SGD', lr=0.1), dtype='bfloat16')
    TwoGroupConstructor(cfg)(Network())
    assert cfg == dict(optimizer=dict(type='SGD', lr=0.1), dtype='bfloat16')


@pytest.mark.unit
def test_scaled_lr():
    # AttMask at 100 epochs: 4 GPUs with 60 images.
    assert scaled_lr(5e-4, 60, world_size=4) == pytest.approx(4.6875e-4)
    assert scaled_lr(5e-4, 60, accumulation=4) == pytest.approx(4.6875e-4)
    assert scaled_lr(1.0, 32, base_batch_size=64) == 0.5


@pytest.mark.unit
@pytest.mark.parametrize('paramwise_cfg, kwargs, message', [
    (dict(lr_mul={}), {}, "did you mean 'lr_mult'"),
    (dict(lr_mult={'patch_embd': 0.2}), {}, r"contains \['patch_embd'\]"),
    (dict(lr_mult={'norm': 0.0}), {}, r"lr_mult\['norm'\]=0\.0: must be > 0"),
    (dict(lr_mult={'norm': 0.5}), dict(optimizer=dict(type='AdamW')),
     r'lr_mult needs optimizer\.lr'),
])
def test_errors(paramwise_cfg, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        build(paramwise_cfg, **kwargs)(Network())


@pytest.mark.unit
def test_errors_without_optimizer_or_parameters():
    with pytest.raises(ConfigError, match='needs the key "optimizer"'):
        TwoGroupConstructor(dict(type='mimplug.OptimWrapper'))
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(ConfigError, match='no trainable parameters'):
        build()(frozen)


@pytest.mark.unit
@pytest.mark.parametrize('optimizer, fused', [
    (dict(type='AdamW'), True),
    (dict(type='Adam'), True),
    (dict(type=torch.optim.SGD, lr=0.1), True),
    (dict(type='AdamW', fused=False), False),
    (dict(type='AdamW', foreach=True), None),
    (dict(type='SGD', lr=0.1, differentiable=True), None),
    (dict(type='Adagrad'), None),   # its kernel promises no skipping
    (dict(type='mmpretrain.LARS', lr=0.1), None),  # does not know the word
])
def test_fused_unless_the_config_says_otherwise(optimizer, fused):
    built = build(optimizer=optimizer)(Network()).optimizer
    assert {group.get('fused') for group in built.param_groups} == {fused}


@pytest.mark.unit
def test_not_fused_for_numbers_without_such_a_kernel():
    model = Network()
    model.complex = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    assert not build()(model).optimizer.param_groups[0]['fused']
