"""Scores of one layer: formulas, precision, wrong arguments."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    AttentionMask,
    LogScore,
    MaskContext,
    PowerScore,
    RawScore,
    build_score,
)

FORMULAS = {
    'raw': (RawScore, lambda c: c),
    'log': (LogScore, torch.log),
    'power': (PowerScore, torch.sqrt),
}


def single_layer(attention):
    """A context of CLS rows (M, H, L), with a CLS column before them."""
    rows, heads, length = attention.shape
    column = attention.new_full((rows, heads, 1), 0.5)
    return MaskContext(
        grid=(1, length), batch_size=rows, num_layers=1,
        draws=HashDraws(0, 0, SampleKeys.arange(rows)),
        attention={0: torch.cat((column, attention), 2)})


@pytest.mark.property
@pytest.mark.parametrize('kind', FORMULAS)
def test_formula_row_by_row(kind, make_context):
    score, formula = FORMULAS[kind]
    context = make_context(attention=True, dtype=torch.float64)
    for layer in (0, 2, -1):
        values = score(layer)(context)
        assert score(layer).needs.cls_rows == (layer,)
        for row in range(context.rows):
            heads = context.attention[layer % 3][row, :, 0, 1:]
            expected = sum(formula(head) for head in heads) / len(heads)
            torch.testing.assert_close(values[row], expected)


@pytest.mark.property
@pytest.mark.parametrize('kind', FORMULAS)
def test_a_cls_row_is_enough(kind, make_context):
    score, _ = FORMULAS[kind]
    context = make_context(attention=True)
    rows = replace(context, attention={
        layer: value[:, :, 0] for layer, value in context.attention.items()})
    assert torch.equal(score(1)(context), score(1)(rows))


@pytest.mark.property
def test_one_head_has_one_ranking():
    context = single_layer(torch.rand(5, 1, 40).softmax(-1))
    orders = [score()(context).argsort(1)
              for score in (RawScore, LogScore, PowerScore)]
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])


@pytest.mark.unit
def test_what_the_fusions_are_for():
    """One peaked head wins raw, agreement of all heads wins log."""
    context = single_layer(torch.tensor(
        [[[0.9, 0.1, 0.02], [1e-6, 0.1, 0.02]]], dtype=torch.float64))
    assert RawScore()(context).argmax(1).item() == 0
    assert LogScore()(context).argmax(1).item() == 1
    assert PowerScore(power=0.9)(context).argmax(1).item() == 0
    assert PowerScore(power=0.1)(context).argmax(1).item() == 1


@pytest.mark.unit
@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
@pytest.mark.parametrize('kind', FORMULAS)
def test_half_precision_is_fused_in_single(kind, dtype):
    attention = torch.rand(3, 6, 50).softmax(-1).to(dtype)
    score = FORMULAS[kind][0]()
    values = score(single_layer(attention))
    assert values.dtype == torch.float32
    assert torch.equal(values, score(single_layer(attention.float())))


@pytest.mark.unit
@pytest.mark.parametrize('legacy', [False, True])
def test_an_attention_of_zero_stays_in_its_row(legacy):
    attention = torch.rand(4, 2, 9)
    attention[1, 0, 3] = 0
    score = LogScore(eps=1e-12, legacy_running_sum=legacy)
    values = score(single_layer(attention))
    assert torch.isfinite(values).all()
    assert values[1].argmin() == 3
    assert LogScore(eps=0.5)(single_layer(attention)).min() >= -0.7


@pytest.mark.property
@pytest.mark.parametrize('kind', [LogScore, PowerScore])
def test_released_running_sum_is_off_by_default(kind, make_context):
    context = make_context(attention=True)
    plain, legacy = kind(1), kind(1, legacy_running_sum=True)
    assert not plain.batch_coupled
    assert legacy.batch_coupled
    torch.testing.assert_close(
        legacy(context), plain(context).cumsum(0))
    # In a call of its own a row's score is right again.
    assert torch.equal(legacy(context.view(1))[:1], plain(context)[4:5])
    coupled = AttentionMask(score=legacy)
    assert coupled.batch_coupled
    assert not AttentionMask(score=plain).batch_coupled


@pytest.mark.unit
@pytest.mark.parametrize('config, message', [
    (dict(type='LogScor'), "did you mean 'LogScore'"),
    (dict(type='PowerScore', power=0), 'power=0'),
    (dict(type='PowerScore', layers=3), "did you mean 'layer'"),
    (dict(type='LogScore', eps=0.0), r'eps=0\.0'),
    (dict(type='RawScore', layer=1.0), r'layer=1\.0'),
    (dict(type='RandomMask', ratio=0.3), 'of another kind'),
    ('raw', 'needs a dict with a type'),
])
def test_wrong_scores(config, message):
    with pytest.raises(ConfigError, match=message):
        build_score(config)


@pytest.mark.unit
def test_layer_and_score_exclude_each_other():
    with pytest.raises(ConfigError, match='exclude each other'):
        AttentionMask(layer=3, score=RawScore(4))
    generator = AttentionMask(score=dict(type='mimplug.PowerScore', layer=7))
    assert generator.needs.cls_rows == (7,)
    generator.check((14, 14), 12)
    with pytest.raises(ConfigError, match='layer=7'):
        generator.check((14, 14), 6)
