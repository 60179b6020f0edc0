"""Attention rollout against full products of matrices."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    MaskContext,
    Needs,
    RolloutMask,
    RolloutScore,
    roll_out,
)

PRESETS = ('all', 'last', 'mid')


def deep_context(depth=12, rows=3, grid=(3, 4), dtype=torch.float64, seed=0):
    """Whole attention of every layer."""
    tokens = grid[0] * grid[1] + 1
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(depth, rows, 2, tokens, tokens, generator=generator,
                        dtype=torch.float64)
    return MaskContext(
        grid=grid, batch_size=rows, num_layers=depth,
        draws=HashDraws(0, 0, SampleKeys.arange(rows)),
        attention=dict(enumerate((2 * noise).softmax(-1).to(dtype))))


def naive(attention, residual=1.0, normalise=True, head_fusion='mean',
          discard_ratio=0.0):
    """The whole product, one image and one matrix after the other."""
    products = []
    for row in range(len(attention[0])):
        product = torch.eye(attention[0].shape[-1], dtype=torch.float64)
        for layer in attention:
            heads = layer[row].double()
            fused = dict(mean=heads.mean(0), max=heads.max(0).values,
                         min=heads.min(0).values)[head_fusion]
            order = fused.flatten().argsort()
            for place in order[:int(order.numel() * discard_ratio)].tolist():
                if place:
                    fused.view(-1)[place] = 0
            factor = fused + residual * torch.eye(len(fused))
            if normalise:
                factor = factor / factor.sum(1, keepdim=True)
            product = product @ factor
        products.append(product[0])
    return torch.stack(products)


@pytest.mark.property
@pytest.mark.parametrize('kwargs', [
    {}, dict(normalise=False), dict(residual=0.3), dict(residual=0.0),
    dict(residual=2.0, normalise=False),
    dict(head_fusion='max'), dict(head_fusion='min', normalise=False),
    dict(head_fusion='min', residual=0.5), dict(discard_ratio=0.9),
    dict(head_fusion='max', discard_ratio=0.5, normalise=False)])
def test_row_of_the_full_product(kwargs):
    factors = list(deep_context(depth=4).attention.values())
    expected = naive(factors, **kwargs)
    torch.testing.assert_close(roll_out(factors, **kwargs), expected)
    if 'discard_ratio' not in kwargs:
        rows = [factors[0][:, :, 0], *factors[1:]]
        torch.testing.assert_close(roll_out(rows, **kwargs), expected)


@pytest.mark.property
@pytest.mark.parametrize('depth', [1, 2, 3, 4, 11, 12, 24])
def test_presets_follow_the_depth(depth):
    layers = {name: list(RolloutScore(name).span.layers(depth))
              for name in PRESETS}
    assert layers['all'] == list(range(depth))
    for name in ('last', 'mid'):
        assert 1 <= len(layers[name]) <= depth // 3 + 1
    assert layers['last'][-1] == depth - 1
    if depth % 3 == 0:
        third = depth // 3
        assert layers['last'] == list(range(2 * third, depth))
        assert layers['mid'] == list(range(third, 2 * third))


@pytest.mark.property
@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('order', ['standard', 'reversed'])
def test_score_is_the_product_of_its_layers(preset, order):
    context = deep_context(depth=6)
    score = RolloutScore(preset, order=order)
    layers = list(score.span.layers(6))
    # Abnar and Zuidema multiply later layers from the left.
    factors = [context.attention[layer] for layer in (
        layers[::-1] if order == 'standard' else layers)]
    torch.testing.assert_close(score(context), naive(factors)[:, 1:])
    reverse = RolloutScore(
        preset, order='reversed' if order == 'standard' else 'standard')
    assert not torch.allclose(score(context), reverse(context))


@pytest.mark.property
@pytest.mark.parametrize('preset', PRESETS)
@pytest.mark.parametrize('order', ['standard', 'reversed'])
def test_what_it_asks_for_is_enough(preset, order):
    """CLS row of the leftmost layer, whole matrices of the others."""
    context = deep_context(depth=6)
    score = RolloutScore(preset, order=order)
    needs = score.needs.resolve(6)
    assert len(needs.cls_rows) == 1
    assert score.needs.attention
    given = {layer: context.attention[layer][:, :, 0]
             for layer in needs.cls_rows}
    given |= {layer: context.attention[layer] for layer in needs.full}
    assert torch.equal(
        score(replace(context, attention=given)), score(context))
    for layer in given:
        rest = {key: value for key, value in given.items() if key != layer}
        with pytest.raises(ConfigError, match=f'layer {layer}'):
            score(replace(context, attention=rest))
    assert needs.head_mean == needs.full
    fused = given | {layer: context.attention[layer].mean(1, keepdim=True)
                     for layer in needs.full}
    torch.testing.assert_close(
        score(replace(context, attention=fused)), score(context))
    other = RolloutScore(preset, order=order, head_fusion='max')
    assert other.needs.resolve(6).head_mean == ()
    whole = RolloutScore(preset, order=order, discard_ratio=0.1)
    assert whole.needs.resolve(6).cls_rows == ()


@pytest.mark.property
def test_normalising_does_not_change_the_ranking():
    context = deep_context(depth=12, rows=8, grid=(7, 7))
    scaled, plain = (RolloutScore(normalise=flag)(context)
                     for flag in (True, False))
    torch.testing.assert_close(scaled * 2.0**12, plain)
    # With the CLS column the row sums to 1.
    assert (scaled.sum(1) < 1).all()


@pytest.mark.property
def test_rollout_of_attention_that_looks_at_one_token():
    """Attention flow: CLS asks 2 in the last layer, 2 asks 1 before."""
    first, last = torch.zeros(2, 1, 1, 4, 4)
    first[..., :, 1] = 1
    last[..., :, 2] = 1
    context = MaskContext(
        grid=(1, 3), batch_size=1, num_layers=2,
        draws=HashDraws(0, 0, SampleKeys.arange(1)),
        attention={0: first, 1: last})
    flow = RolloutScore(residual=0.0)(context)
    assert flow.tolist() == [[1, 0, 0]]
    turned = RolloutScore(residual=0.0, order='reversed')(context)
    assert turned.tolist() == [[0, 1, 0]]


@pytest.mark.unit
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_products_are_single_precision_also_under_autocast(dtype):
    context = deep_context(dtype=dtype, grid=(6, 6))
    score = RolloutScore()
    expected = score(deep_context(dtype=dtype, grid=(6, 6)))
    assert expected.dtype == torch.float32
    with torch.autocast('cpu', torch.bfloat16):
        values = score(context)
    assert torch.equal(values, expected)
    single = replace(context, attention={
        layer: value.float() for layer, value in context.attention.items()})
    assert torch.equal(score(single), expected)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(score(single), expected)


@pytest.mark.unit
def test_attention_is_left_as_it_was():
    context = deep_context(depth=3)
    before = {layer: value.clone()
              for layer, value in context.attention.items()}
    for kwargs in ({}, dict(discard_ratio=0.5), dict(head_fusion='max')):
        RolloutScore(**kwargs)(context)
    for layer, value in context.attention.items():
        assert torch.equal(value, before[layer])


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(preset='al'), "did you mean 'all'"),
    (dict(order='reverse'), "did you mean 'reversed'"),
    (dict(head_fusion='mode'), 'allowed: mean, max, min'),
    (dict(residual=-1), 'residual=-1'),
    (dict(discard_ratio=1), 'discard_ratio=1'),
    (dict(start=0.5), r'start=0\.5'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        RolloutScore(**kwargs)
    with pytest.raises(ConfigError, match=message):
        RolloutMask(**kwargs)


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, depth, message', [
    (dict(start=8, end=7), 12, 'empty range'),
    (dict(start=-1, end=3), 12, 'empty range'),
    (dict(end=12), 12, 'layer=12'),
    (dict(preset='all_ref'), 6, 'network of 6 layers'),
])
def test_layers_that_a_teacher_does_not_have(kwargs, depth, message):
    with pytest.raises(ConfigError, match=message):
        RolloutMask(**kwargs).check((14, 14), depth)
    with pytest.raises(ConfigError, match='this model has none'):
        RolloutMask().check((14, 14))


@pytest.mark.unit
def test_literal_layers_override_the_preset():
    score = RolloutScore('last', start=-3)
    assert list(score.span.layers(12)) == [9, 10, 11]
    assert list(RolloutScore('mid', end=5).span.layers(12)) == [4, 5]
    assert score.needs.resolve(12) == Needs(
        (11,), (9, 10), head_mean=(9, 10))
    both = (score.needs | Needs(cls_rows=(4, 10))).resolve(12)
    assert (both.cls_rows, both.full) == ((4, 11), (9, 10))


@pytest.mark.unit
def test_depth_must_be_known():
    context = replace(deep_context(), num_layers=None)
    with pytest.raises(ConfigError, match='depth of the teacher'):
        RolloutScore()(context)
