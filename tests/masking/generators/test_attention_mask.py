"""AttMask: the reference's masks exactly, its statistics, odd input."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, ReplayDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    AttentionMask,
    DelayedRatio,
    MaskContext,
    UniformRatio,
    build_generator,
    select_top,
)
from mimplug.schedules import Progress


def context_of(attention, draws, **kwargs):
    """One head and layer; a CLS column that would win if it took part."""
    rows, length = attention.shape
    cls_column = attention.new_full((rows, 1), 10.0)
    full = torch.cat([cls_column, attention], 1)[:, None]
    return MaskContext(
        grid=(1, length), draws=draws, batch_size=rows,
        attention={11: full}, num_layers=12, **kwargs)


def reveal_table(attention, tokens, pool):
    """Numbers whose top ranks are the given tokens of the sorted pool."""
    order = np.argsort(-attention.numpy(), axis=1)
    rank = np.argsort(order, axis=1)
    table = np.zeros((len(order), pool))
    np.put_along_axis(
        table, np.take_along_axis(rank, tokens, axis=1), 0.5, axis=1)
    return table


def golden_case(golden, case):
    """Arguments and replayed draws of one case."""
    attention = golden.tensor('attention')
    kwargs = dict(mode=case.split('_')[0],
                  ratio=golden.scalar(f'{case}/masking_ratio'),
                  apply_prob=golden.scalar(f'{case}/masking_prob'))
    values = {'apply': golden[f'{case}/bernoulli_uniform']}
    if kwargs['mode'] == 'hint':
        kwargs['show_ratio'] = golden.scalar(f'{case}/show_ratio')
        kwargs['show_max'] = golden.scalar(f'{case}/show_max')
        pool = int(attention.shape[1] * kwargs['show_max'])
        values['reveal'] = reveal_table(
            attention, golden[f'{case}/reveal_idx'], pool)
    return attention, kwargs, ReplayDraws(values)


@pytest.mark.golden('attmask_ibot', 'attmask_masks')
def test_reference_masks(golden):
    cases = [name for name in golden.names('')
             if f'{name}/masking_prob' in golden]
    assert {case.split('_')[0] for case in cases} == {'high', 'low', 'hint'}
    for case in cases:
        attention, kwargs, draws = golden_case(golden, case)
        mask = AttentionMask(**kwargs)(context_of(attention, draws))
        expected = golden[f'{case}/mask']
        np.testing.assert_array_equal(
            mask.tokens.numpy(), expected, err_msg=case)
        assert mask.capacity == expected.sum(), case


@pytest.mark.golden('attmask_ibot', 'attmask_masks')
def test_reference_pools_and_masks_before_the_probability(golden):
    for case in golden.names(''):
        if f'{case}/masking_prob' not in golden:
            continue
        attention, kwargs, _ = golden_case(golden, case)
        mode = 'low' if kwargs['mode'] == 'low' else 'high'
        mask = AttentionMask(mode, kwargs['ratio'], 1.0)(
            context_of(attention, ReplayDraws({})))
        np.testing.assert_array_equal(
            mask.tokens.numpy(), golden[f'{case}/token_mask_before_prob'])
        if kwargs['mode'] == 'hint':
            size = int(attention.shape[1] * kwargs['show_max'])
            pool = select_top(attention, [size] * len(attention))
            np.testing.assert_array_equal(
                pool.numpy(), golden[f'{case}/reveal_pool'])


@pytest.mark.golden('attmask_ibot', 'attmask_masks')
def test_reference_scores(golden):
    full = golden.tensor('full_attention')
    context = MaskContext(
        grid=(1, full.shape[-1] - 1), batch_size=len(full),
        draws=HashDraws(0, 0, SampleKeys.arange(len(full))),
        attention={3: full})
    scores = AttentionMask(layer=3).scores(context)
    torch.testing.assert_close(
        scores, golden.tensor('cls_attention_from_full'), rtol=0, atol=1e-7)


@pytest.mark.golden('attmask_ibot', 'attmask_masks')
def test_reference_hint_statistics(golden):
    prob, ratio, show_ratio, show_max = golden['stats/hint_params']
    count = 64_000
    attention = golden.tensor('attention')[:1].expand(count, -1)
    mask = AttentionMask(
        'hint', ratio, prob, show_ratio=show_ratio, show_max=show_max)(
            context_of(attention, HashDraws(3, 0, SampleKeys.arange(count))))
    tokens = mask.tokens.numpy()
    np.testing.assert_allclose(
        tokens.mean(0), golden['stats/hint_token_mask_freq'], atol=0.02)
    hidden = tokens.sum(1)
    assert (hidden > 0).mean() == pytest.approx(
        golden.scalar('stats/hint_frac_images_masked'), abs=0.02)
    assert hidden[hidden > 0].mean() == pytest.approx(
        golden.scalar('stats/hint_mean_masked_per_masked_image'), abs=1e-9)
    assert mask.capacity == hidden.sum()


@pytest.mark.property
@pytest.mark.parametrize('mode', ['high', 'low', 'hint'])
@pytest.mark.parametrize('dtype', [
    torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_counts_are_exact_in_every_precision(mode, dtype, make_context):
    context = make_context(
        batch=50, grid=(12, 9), attention=True, dtype=dtype)
    # The pool (9) is smaller than any k (>= 10): all of it was hidden.
    generator = AttentionMask(mode, show_max=0.09)
    mask = generator(context)
    wanted = (108 * generator.ratio(context)).astype(int)
    if mode == 'hint':
        wanted -= (108 * (0.09 * generator.ratio(
            context, 'show_ratio'))).astype(int)
    hidden = mask.tokens.sum(1).numpy()
    assert set(hidden[hidden > 0] - wanted[hidden > 0]) == {0}
    assert 20 < (hidden > 0).sum() < 80
    assert mask.capacity == hidden.sum()


@pytest.mark.unit
def test_heads_of_half_precision_are_averaged_in_single():
    # In bfloat16 the sum 1 + 2^-8 rounds to 1 and the order is lost.
    attention = torch.tensor([[[0.9, 1.0, 1.0], [0.9, 0.0, 2.0**-8]]])
    context = MaskContext(
        grid=(1, 2), batch_size=1, attention={0: attention.bfloat16()},
        draws=HashDraws(0, 0, SampleKeys.arange(1)), num_layers=1)
    mask = AttentionMask('high', 0.5, 1.0)(context)
    assert mask.tokens.tolist() == [[False, True]]


@pytest.mark.unit
def test_layer_is_the_one_that_is_read(make_context):
    context = make_context(attention=True)
    for layer in (0, 1, -1):
        generator = AttentionMask('high', 0.3, 1.0, layer=layer)
        assert generator.needs.cls_rows == (layer,)
        expected = select_top(
            context.attention[layer % 3][:, :, 0, 1:].mean(1), [9] * 8)
        assert torch.equal(generator(context).tokens, expected)


@pytest.mark.unit
def test_nothing_is_hidden_before_the_start_epoch(make_context):
    generator = AttentionMask('hint', DelayedRatio((0.3, 0.2), 2), 1.0)
    early = generator(make_context(
        attention=True, progress=Progress(epoch=1, max_epochs=4)))
    assert early.capacity == early.hidden.sum() == 0
    late = generator(make_context(
        attention=True, progress=Progress(epoch=2, max_epochs=4)))
    assert late.capacity == late.hidden.sum() > 0


@pytest.mark.unit
def test_released_ratio_is_one_for_the_batch(make_context):
    generator = build_generator(dict(
        type='mimplug.AttentionMask', mode='high', apply_prob=1.0,
        ratio=dict(type='UniformRatio', mean=0.3, var=0.2, per='rank')))
    assert isinstance(generator.ratio, UniformRatio)
    hidden = generator(make_context(attention=True)).tokens.sum(1)
    assert len(set(hidden.tolist())) == 1


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(mode='hihg'), "did you mean 'high'"),
    (dict(apply_prob=1.1), 'apply_prob=1.1'),
    (dict(mode='hint', show_max=2), 'show_max=2'),
    (dict(mode='high', select=dict(type='TopSelector')), 'exclude'),
    (dict(select=dict(type='TopSelectr')), "did you mean 'TopSelector'"),
    (dict(ratio=3), 'ratio=3'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        AttentionMask(**kwargs)


@pytest.mark.unit
def test_check_at_build_time():
    AttentionMask(layer=-12).check((14, 14), 12)
    with pytest.raises(ConfigError, match='layer=12'):
        AttentionMask(layer=12).check((14, 14), 12)
    with pytest.raises(ConfigError, match='this model has none'):
        AttentionMask().check((14, 14))
    with pytest.raises(ConfigError, match='at least one cell'):
        AttentionMask().check((0, 14), 12)
