"""Stochastic depth of the masked ViT from given draws."""
from __future__ import annotations

import pytest
import torch
from toy_ibot import tiny_vit

from mimplug.models.backbones import drop_path_scale, run_block


@pytest.fixture
def images():
    return torch.randn(3, 3, 16, 16,
                       generator=torch.Generator().manual_seed(5))


@pytest.mark.unit
@torch.no_grad()
def test_result_is_a_function_of_the_draws(images):
    model = tiny_vit(drop_path_rate=0.5).train()
    draws = torch.rand(3, 2, 2)
    first = model.encode(images, drop_path=draws).tokens
    torch.manual_seed(123)
    assert torch.equal(
        first, model.encode(images, drop_path=draws).tokens)
    # A row does not depend on the rows beside it.
    alone = model.encode(images[1:2], drop_path=draws[1:2]).tokens
    torch.testing.assert_close(alone, first[1:2], rtol=1e-5, atol=1e-6)


@pytest.mark.unit
@torch.no_grad()
def test_each_branch_is_dropped_by_its_own_draw(images):
    model = tiny_vit(drop_path_rate=0.5).train()
    assert model.drop_path_rates == [0.0, 0.5]
    high = torch.full((3, 2, 2), 0.9)
    both = high.clone()
    both[:, 1] = 0.1
    block = model.layers[1]
    inner = model.encode(
        images, drop_path=both, intermediates=[0]).intermediates[0]
    # Both branches of the last block dropped: its input comes out.
    assert torch.equal(
        inner, model.encode(images, drop_path=both).tokens)
    outputs = {}
    for branch in (0, 1):
        draws = high.clone()
        draws[:, 1, branch] = 0.1
        outputs[branch] = model.encode(images, drop_path=draws).tokens
    assert not torch.equal(outputs[0], outputs[1])
    # The first block has rate 0: no draw is small enough.
    zero = high.clone()
    zero[:, 0] = 0.0
    assert torch.equal(model.encode(images, drop_path=zero).tokens,
                       model.encode(images, drop_path=high).tokens)
    assert block.attn.out_drop.drop_prob == 0


@pytest.mark.unit
@torch.no_grad()
def test_block_scales_attention_and_mlp_by_sample():
    block = tiny_vit(layer_scale_init_value=0.5).layers[0]
    x = torch.randn(3, 5, 16)
    scale = torch.tensor([[0.0, 2.0], [2.0, 0.0], [3.0, 0.5]])
    first, second = scale.unsqueeze(-1).unsqueeze(-1).unbind(1)
    middle = x + first * block.attn(block.ln1(x))
    branch = block.ffn(block.ln2(middle), identity=torch.zeros_like(x))
    torch.testing.assert_close(
        run_block(block, x, scale).tokens, middle + second * branch)


@pytest.mark.property
@pytest.mark.parametrize('rate', [0.0, 0.1, 0.5, 0.9])
def test_expectation_is_one(rate):
    draws = torch.rand(20_000, generator=torch.Generator().manual_seed(0))
    scale = drop_path_scale(draws, rate)
    kept = {0.0, float(torch.tensor(1 / (1 - rate)))}
    assert set(scale.unique().tolist()) <= kept
    # Standard deviation of the mean: sqrt(rate / (1 - rate) / 20000).
    deviation = (rate / (1 - rate) / 20_000)**0.5
    assert abs(scale.mean().item() - 1) <= 4 * deviation + 1e-6


@pytest.mark.unit
@torch.no_grad()
def test_not_in_evaluation(images):
    model = tiny_vit(drop_path_rate=0.9)
    plain = tiny_vit()
    plain.load_state_dict(model.state_dict())
    assert torch.equal(model.eval()(images)[-1], plain(images)[-1])
    model.train()
    torch.manual_seed(0)  # without draws: PyTorch's own generator
    assert not torch.equal(model(images)[-1], plain(images)[-1])
