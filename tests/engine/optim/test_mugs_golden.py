"""Optimisation of Mugs: groups, clipping, LARS and schedules."""
from __future__ import annotations

import copy

import pytest
import torch
from mmengine.registry import OPTIMIZERS
from mmpretrain.registry import MODELS
from torch import nn

from mimplug.converters import MUGS
from mimplug.engine.optim import (
    LARS,
    CosineWeightDecay,
    OptimWrapper,
    TwoGroupConstructor,
    WarmupCosineLR,
    clip_grads_,
    guarded_step,
    scaled_lr,
)
from mimplug.errors import ConfigError
from mimplug.schedules import LinearThenConstant, warmup_cosine


def tiny_mugs(golden, norm_last_layer):
    """The algorithm with the sizes of ``optim``."""
    head = {name: golden.scalar(f'hyper/head_{name}')
            for name in ('hidden', 'out', 'pred_hidden', 'group_out',
                         'bottleneck')}
    embed = dict(queue=8, head=dict(
        hidden_channels=head['hidden'], out_channels=head['out'],
        predictor_channels=head['pred_hidden']))
    return MODELS.build(dict(
        type='mimplug.Mugs',
        backbone=dict(
            type='mimplug.LocalGroupViT', img_size=32, patch_size=8,
            arch=dict(embed_dims=golden.scalar('hyper/D'),
                      num_layers=golden.scalar('hyper/depth'),
                      num_heads=golden.scalar('hyper/heads'),
                      feedforward_channels=4 * golden.scalar('hyper/D'))),
        instance=embed, local_group=dict(embed, memory=8, neighbours=2),
        group=dict(head=dict(
            num_prototypes=head['group_out'],
            hidden_channels=head['hidden'],
            bottleneck_channels=head['bottleneck'],
            norm_last_layer=norm_last_layer))))


@pytest.mark.golden('mugs', 'optim')
@pytest.mark.parametrize('norm_last_layer', [False, True])
def test_parameter_groups(golden, norm_last_layer):
    model = tiny_mugs(golden, norm_last_layer)
    wrapper = TwoGroupConstructor(
        dict(optimizer=dict(type='AdamW', lr=0.5, weight_decay=0.04)),
        dict(lr_mult={'patch_embed': 0.2}))(model)
    want = {(1.0, True): 'normal_params', (0.2, True): 'patch_embed',
            (1.0, False): 'no_wd', (0.2, False): 'patch_embed_no_wd'}
    groups = wrapper.optimizer.param_groups
    assert len(groups) == 4
    for group in groups:
        mult, decayed = group['lr_mult'], group['name'] == 'decay'
        assert group['lr'] == pytest.approx(0.5 * mult)
        assert group['weight_decay'] == (0.04 if decayed else 0)
        members = set(map(id, group['params']))
        names = MUGS.write({
            name: value for name, value in model.named_parameters()
            if id(value) in members})
        assert set(names) == set(
            golden[f'norm_last_{int(norm_last_layer)}/group_'
                   f'{want[mult, decayed]}'])


@pytest.mark.golden('mugs', 'optim')
def test_clipping_is_per_tensor(golden):
    names = golden.names('clip/grad_before/')
    grads = [golden.tensor(f'clip/grad_before/{name}', torch.float64)
             for name in names]
    norms = golden.tensor('clip/norms_before')
    total = clip_grads_(grads, golden.scalar('clip/max'), per_tensor=True)
    assert total == pytest.approx(norms.norm().item(), rel=1e-9)
    for name, grad in zip(names, grads):
        expected = golden.tensor(f'clip/grad_after/{name}')
        torch.testing.assert_close(grad, expected, rtol=0, atol=1e-9)


def lars_model(golden, dtype):
    model = nn.Module()
    for name in ('weight', 'bias'):
        value = golden.tensor(f'lars/init/{name}', dtype)
        model.register_parameter(name, nn.Parameter(value))
    return model


@pytest.mark.golden('mugs', 'optim')
@pytest.mark.parametrize('dtype, error', [
    (torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_lars_steps(golden, dtype, error):
    model = lars_model(golden, dtype)
    optimizer = OPTIMIZERS.build(dict(
        type='mimplug.LARS', params=model.parameters(), lr=0.3,
        weight_decay=0.02))
    for step in range(3):
        for name, value in model.named_parameters():
            value.grad = golden.tensor(f'lars/grad_{step}/{name}', dtype)
        optimizer.step()
        for name, value in model.named_parameters():
            expected = golden.tensor(f'lars/after_{step}/{name}', dtype)
            torch.testing.assert_close(
                value.detach(), expected, rtol=0, atol=error)


@pytest.mark.unit
def test_lars_corners():
    zero = nn.Parameter(torch.zeros(2, 2))
    still = nn.Parameter(torch.ones(2, 2))
    unused = nn.Parameter(torch.ones(3))
    optimizer = LARS([zero, still, unused], lr=0.5)
    zero.grad, still.grad = torch.ones(2, 2), torch.zeros(2, 2)
    loss = optimizer.step(lambda: zero.sum())
    assert loss == 0
    # no weights or no update: no factor, and nothing is divided by zero
    assert torch.equal(zero, torch.full((2, 2), -0.5))
    assert torch.equal(still, torch.ones(2, 2))
    assert torch.equal(unused, torch.ones(3))
    assert unused not in optimizer.state
    with pytest.raises(ConfigError, match='eta'):
        LARS([zero], eta=-1.0)
    with pytest.raises(ConfigError, match=r'momentum=1.0.*\[0, 1\)'):
        LARS([zero], momentum=1.0)


@pytest.mark.unit
def test_a_skipped_lars_step_changes_nothing():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    wrapper = OptimWrapper(LARS(model.parameters(), lr=0.5))
    wrapper.update_params(model(torch.ones(1, 3)).sum())
    before = copy.deepcopy(model.state_dict())
    momentum = wrapper.optimizer.state[model.weight]['momentum_buffer'].clone()
    for value in model.parameters():
        value.grad = torch.full_like(value, torch.nan)
    guarded_step(wrapper.optimizer, torch.tensor(False))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(
        wrapper.optimizer.state[model.weight]['momentum_buffer'], momentum)


ROW = ('epochs', 'warmup', 'lr', 'batch', 'min_lr', 'wd', 'wd_end',
       'momentum', 'heat', 'heat_end', 'heat_epochs')


@pytest.mark.golden('mugs', 'schedules')
def test_schedules_of_the_published_settings(golden):
    length = golden.scalar('hyper/niter_per_epoch')
    names = [name for name in golden.names('') if f'{name}/lr' in golden]
    assert len(names) == 5
    for name in names:
        row = dict(zip(ROW, golden[
            f'{name}/hyper_epochs_warmup_lr_batch_minlr_wd_wdend_mom_tw_t_twe'
        ].tolist()))
        epochs, total = int(row['epochs']), int(row['epochs']) * length
        peak = scaled_lr(row['lr'], row['batch'])
        wrapper = TwoGroupConstructor(
            dict(optimizer=dict(type='AdamW', lr=peak,
                                weight_decay=row['wd'])))(nn.Linear(2, 2))
        common = dict(epoch_length=length, end=epochs)
        lr = WarmupCosineLR.build_iter_from_epoch(
            wrapper, warmup=row['warmup'], final=row['min_lr'], **common)
        decay = CosineWeightDecay.build_iter_from_epoch(
            wrapper, final=row['wd_end'], **common)
        heat = LinearThenConstant(
            row['heat'], row['heat_end'], int(row['heat_epochs']))
        tables = dict(
            lr=[lr.value(i, peak) for i in range(total)],
            wd=[decay.value(i, row['wd']) for i in range(total)],
            momentum=[warmup_cosine(i, row['momentum'], 1.0, total)
                      for i in range(total)],
            teacher_temp_per_epoch=[heat(epoch) for epoch in range(epochs)])
        for key, values in tables.items():
            want = golden[f'{name}/{key}'].tolist()
            assert values == pytest.approx(want, rel=1e-12, abs=1e-18), key
