"""Stochastic depth that leaves rows out gives what multiplying by 0 gives."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_ibot import (
    gradients,
    make_samples,
    make_views,
    student_parameters,
    tiny_ibot,
    tiny_vit,
)

from mimplug.models.backbones import (
    KeptRows,
    add_branch,
    encode_requested,
    kept_rows,
)
from mimplug.models.backbones.block import run_block
from mimplug.models.backbones.depth import depth_of_blocks
from mimplug.models.backbones.last_block import run_last_block

ROWS, LENGTH = 5, 16
EXACT = dict(rtol=1e-12, atol=1e-12)
CPU = torch.device('cpu')


def draws(seed=0):
    """Draws of the small network, on the host."""
    return np.random.default_rng(seed).random((ROWS, 2, 2), np.float32)


def run(uniform, *, requested=True, **kwargs):
    """Outputs and parameter gradients of a float64 pass."""
    vit = tiny_vit(drop_path_rate=0.5, **kwargs).double().train()
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(ROWS, 3, 16, 16, dtype=torch.float64,
                         generator=generator)
    hidden = torch.rand(ROWS, LENGTH, generator=generator) < 0.5
    if requested:
        out = list(encode_requested(
            vit, images, hidden=hidden, drop_path=uniform,
            patches=torch.tensor([0, 17, 30, 79])))
    else:
        encoded = vit.encode(images, hidden=hidden, drop_path=uniform,
                             cls_rows=[0], full=[1])
        out = [encoded.tokens, encoded.attention[0], encoded.attention[1]]
    sum(part.pow(2).sum() for part in out).backward()
    return out, {name: p.grad for name, p in vit.named_parameters()}


@pytest.mark.property
@pytest.mark.parametrize('requested', [True, False])
@pytest.mark.parametrize('kwargs', [
    {}, dict(layer_scale_init_value=0.3), dict(with_cp=True)], ids=str)
@pytest.mark.parametrize('seed', [0, 1])
def test_numbers_are_those_of_zero_factors(requested, kwargs, seed):
    uniform = draws(seed)
    assert (uniform[:, 1] < 0.5).any()
    ours, grads = run(uniform, requested=requested, **kwargs)
    others = [run(torch.from_numpy(uniform), requested=requested, **kwargs),
              run(uniform, requested=requested, skip_dropped=False, **kwargs)]
    for out, expected in others:
        for part, reference in zip(ours, out, strict=True):
            torch.testing.assert_close(part, reference, **EXACT)
        for name, grad in grads.items():
            torch.testing.assert_close(
                grad, expected[name], rtol=1e-10, atol=1e-12)


@pytest.mark.unit
def test_dropped_rows_are_not_computed():
    vit, seen = tiny_vit(drop_path_rate=0.5).train(), []
    for part in (vit.layers[1].ln1, vit.layers[1].ln2):
        part.register_forward_hook(
            lambda module, args, out: seen.append(len(out)))
    uniform = np.full((ROWS, 2, 2), 0.9, np.float32)
    uniform[[1, 4], 1, 0] = uniform[2, 1, 1] = 0.1
    images = torch.zeros(ROWS, 3, 16, 16)
    vit.encode(images, drop_path=uniform)
    vit.encode(images, drop_path=torch.from_numpy(uniform))
    assert seen == [ROWS - 2, ROWS - 1, ROWS, ROWS]


@pytest.mark.unit
def test_a_branch_that_nobody_keeps_still_takes_part():
    """A distributed wrapper waits for the gradient of every parameter."""
    uniform = np.full((ROWS, 2, 2), 0.1, np.float32)
    out, grads = run(uniform, requested=False)
    inner, _ = run(torch.from_numpy(uniform), requested=False)
    torch.testing.assert_close(out[0], inner[0], **EXACT)
    for name, grad in grads.items():
        assert grad is not None, name
    assert not grads['layers.1.ffn.layers.1.weight'].any()
    assert grads['layers.0.ffn.layers.1.weight'].any()


@pytest.mark.unit
def test_rows_and_factors():
    uniform = np.array([[[.0, .5], [.2, .1]], [[.9, .1], [.2, .3]],
                        [[.4, .1], [.2, .24]]], np.float32)
    (first, second), (third, fourth) = kept_rows(uniform, [0.0, 0.25], CPU)
    assert first == second == KeptRows(None, 1.0)
    # nobody keeps the third: row 0 with factor 0
    assert third.rows.tolist() == [0]
    assert third.factor == 0
    assert fourth.rows.tolist() == [1]
    assert fourth.factor == 1 / 0.75


@pytest.mark.property
def test_gradient_of_a_branch_on_some_rows():
    x = torch.randn(4, 2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, 3, dtype=torch.float64, requires_grad=True)
    depth = (KeptRows(torch.tensor([0, 3]), 1.25),
             KeptRows(torch.tensor([1, 2, 3]), 2.0))

    def block(x, weight):
        x = add_branch(x, lambda rows: (rows @ weight).sin(), depth, 0)
        return add_branch(x, lambda rows: (rows @ weight).cos(), depth, 1)

    assert torch.autograd.gradcheck(block, (x, weight))


@pytest.mark.property
@pytest.mark.parametrize('dtype', ['float64', 'bfloat16'])
def test_a_step_with_and_without_skipping(dtype):
    views, samples = make_views(4), make_samples(4)
    results = []
    for skip in (True, False):
        model = tiny_ibot(
            backbone=dict(drop_path_rate=0.5, skip_dropped=skip))
        if dtype == 'float64':
            results.append(gradients(
                model.double(), [view.double() for view in views], samples))
            continue
        with torch.autocast('cpu', torch.bfloat16):
            results.append(gradients(model, views, samples))
    limit = dict(float64=dict(rtol=1e-9, atol=1e-11),
                 bfloat16=dict(rtol=0.05, atol=0.02))[dtype]
    (losses, grads), (others, regrads) = results
    for name in ('loss_cls', 'loss_patch'):
        torch.testing.assert_close(losses[name], others[name], **limit)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, regrads[name], **limit)


@pytest.mark.unit
def test_host_and_device_draw_the_same_bits():
    views, samples = make_views(), make_samples()
    kinds = [tiny_ibot(backbone=dict(drop_path_rate=0.5, skip_dropped=skip))
             for skip in (True, False)]
    host, device = (
        model.drop_path_draws(views, samples, [6, 6]) for model in kinds)
    for mine, other in zip(host, device, strict=True):
        assert isinstance(mine, np.ndarray)
        assert torch.equal(torch.from_numpy(mine), other)
    assert len(student_parameters(kinds[0])) > 20


@pytest.mark.unit
@pytest.mark.parametrize('given, on_cpu, on_gpu', [
    (None, True, False), (True, True, True), (False, False, False)])
def test_where_rows_are_skipped(given, on_cpu, on_gpu):
    vit = tiny_vit(skip_dropped=given)
    assert vit.skips_on(CPU) is on_cpu
    assert vit.skips_on(torch.device('cuda')) is on_gpu


@pytest.mark.unit
@pytest.mark.parametrize('skipped', [True, False])
@torch.no_grad()
def test_half_precision_does_not_round_the_factor(skipped):
    """bfloat16 would take 1 / (1 - 0.1) for 1.109 instead of 1.111."""
    layer = tiny_vit().layers[-1]
    layer.attn.proj.weight.mul_(20.0)
    layer.ffn.layers[1].weight.zero_()
    x = torch.randn(ROWS, LENGTH + 1, 16)
    uniform, rates = np.ones((ROWS, 1, 2), np.float32), [0.1]
    depth, = depth_of_blocks(x, uniform, rates, skip=skipped)
    patches = torch.arange(ROWS * LENGTH)
    with torch.autocast('cpu', torch.bfloat16):
        whole = run_block(layer, x, depth).tokens
        out = run_last_block(layer, x, patches, depth)
    torch.testing.assert_close(out[:ROWS], whole[:, 0])
    torch.testing.assert_close(out[ROWS:], whole[:, 1:].flatten(0, 1))
