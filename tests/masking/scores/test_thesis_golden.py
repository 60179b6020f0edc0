"""The thesis' scores, masks and pairs against its released code.

Limits are those of the README beside the files.
"""
from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_file import Golden
from thesis import (
    check_score_and_mask,
    close,
    context_of,
    generator_of,
    score_names,
    score_of,
)

from mimplug.draws import HashDraws, SampleKeys
from mimplug.masking import MaskContext, roll_out
from mimplug.models.losses import select_pairs

LIMIT = {torch.float64: 1e-9, torch.float32: 1e-5}
both_precisions = pytest.mark.parametrize('dtype', list(LIMIT))


def small_context(golden, dtype):
    side = golden.scalar('grid')
    return context_of(golden, golden.tensor('attn', dtype), (side, side))


@pytest.mark.golden('thesis_masks', 'attn_masks')
@both_precisions
def test_reference_scores_and_masks(golden, dtype):
    context = small_context(golden, dtype)
    names = score_names(golden)
    assert {variant for variant, _ in names} == {
        'choose', 'multi', 'fixed', 'std'}
    assert {name[:3] for _, name in names} == {'raw', 'log', 'pow', 'rol'}
    for variant, name in names:
        check_score_and_mask(golden, context, variant, name, LIMIT[dtype])


@pytest.mark.golden('thesis_masks', 'attn_masks')
def test_reference_least_attended_patches(golden):
    context = small_context(golden, torch.float64)
    names = [name for name in golden.names('choose/mask/')
             if name.endswith('_low')]
    assert names
    for name in names:
        score = score_of(name.removesuffix('_low'), 'choose')
        mask = generator_of(score, 'low')(context)
        np.testing.assert_array_equal(
            mask.hidden[:, 0].numpy(), golden[f'choose/mask/{name}'])


@pytest.mark.golden('thesis_masks', 'attn_masks')
@both_precisions
def test_reference_rollout_products(golden, dtype):
    """Our row is row 0 of the full product of matrices."""
    attention = list(golden.tensor('attn', dtype))
    factors = dict(all=attention, last_fwd=attention[8:12],
                   last_rev=attention[11:7:-1], mid=attention[4:8])
    for name in golden.names('rollout_matrix/'):
        row = roll_out(factors[name], normalise=False)
        expected = golden[f'rollout_matrix/{name}'][:, 0]
        close(row, expected, LIMIT[dtype], name)


@pytest.mark.golden('thesis_masks', 'fullsize')
@both_precisions
def test_reference_full_size(golden, dtype):
    logits = golden.scalar('logit_scale') * (
        golden.tensor('q', torch.float64)
        @ golden.tensor('k', torch.float64).transpose(-1, -2))
    side = round((logits.shape[-1] - 1)**0.5)
    context = context_of(golden, logits.softmax(-1).to(dtype), (side, side))
    names = score_names(golden)
    assert {variant for variant, _ in names} == {'choose', 'fixed'}
    for variant, name in names:
        check_score_and_mask(golden, context, variant, name, LIMIT[dtype])
    counts = generator_of(score_of('raw_l11', 'fixed')).counts(
        golden['ratio'], (side, side))
    np.testing.assert_array_equal(counts, golden['masked_count'])


@pytest.mark.golden('thesis_masks', 'pair_selection')
@both_precisions
def test_reference_pairs(golden, dtype):
    beside = Golden(golden.path.with_name('attn_masks.npz'))
    context = small_context(beside, dtype)
    for prefix, variant in (('', 'pairs'), ('fixed/', 'fixed')):
        names = golden.names(f'{prefix}khigh/')
        assert names
        for name in names:
            score, count = name.rsplit('_k', 1)
            high, low = select_pairs(
                score_of(score, variant)(context), int(count))
            for kind, index in (('khigh', high), ('klow', low)):
                key = f'{prefix}{kind}/{name}'
                np.testing.assert_array_equal(
                    index.numpy(), golden[key], key)


@pytest.mark.golden('thesis_masks', 'draw_stats')
def test_reference_statistics_of_the_draws(golden):
    count, length = golden.scalar('n'), len(golden['hist']) - 1
    side = round(length**0.5)
    context = MaskContext(
        grid=(side, length // side), batch_size=count, num_layers=1,
        draws=HashDraws(5, 0, SampleKeys.arange(count)),
        attention={0: torch.rand(1, 1, length + 1).expand(count, -1, -1)})
    mask = generator_of(score_of('raw_l0', 'fixed'))(context)
    hidden = mask.tokens.sum(1).numpy()
    some = hidden[hidden > 0]
    assert (hidden == 0).mean() == pytest.approx(
        golden.scalar('frac_unmasked'), abs=0.04)
    assert some.mean() == pytest.approx(
        golden.scalar('mean_masked'), abs=2)
    assert (some.min(), some.max()) == (
        golden.scalar('min_masked'), golden.scalar('max_masked'))
