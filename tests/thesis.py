"""Scores, masks and draws of the thesis' reference files by their names."""
from __future__ import annotations

import re

import numpy as np
import torch

from mimplug.draws import ReplayDraws
from mimplug.masking import (
    AttentionMask,
    LogScore,
    MaskContext,
    PerView,
    PowerScore,
    RawScore,
    RolloutScore,
)

# Which released product a file means by rollout_last; see the README.
LAST = {'choose': 'last_ref_choose', 'fixed': 'last_ref_choose',
        'multi': 'last_ref_multi', 'pairs': 'last_ref_multi'}


def score_of(name, variant):
    """The score that a file calls ``name``.

    ``variant``: 'choose', 'multi' or 'pairs', the three released files;
    'fixed', without the running sum; 'std', rollout in published order.
    """
    if name.startswith('rollout_'):
        part = name.removeprefix('rollout_')
        if variant == 'std':
            return RolloutScore(part, normalise=False)
        return RolloutScore(
            LAST[variant] if part == 'last' else f'{part}_ref')
    kind, power, layer = re.fullmatch(
        r'(raw|log|pow)(\d*)_l(\d+)', name).groups()
    legacy = variant in ('choose', 'multi', 'pairs')
    if kind == 'raw':
        return RawScore(int(layer))
    if kind == 'log':
        return LogScore(int(layer), legacy_running_sum=legacy)
    return PowerScore(int(layer), power=int(power) / 100,
                      legacy_running_sum=legacy)


def generator_of(score, mode='high', num_views=None):
    """The thesis' mask of a score; one a crop if ``num_views`` is given."""
    generator = AttentionMask(mode, (0.3, 0.2), 0.5, score=score)
    return PerView([generator] * num_views) if num_views else generator


def replayed(golden, prefix=''):
    """Stored ratios and coins (0 clears the mask) by our names."""
    return ReplayDraws(dict(ratio=golden[f'{prefix}ratio'],
                            apply=1.0 - golden[f'{prefix}coin']))


def context_of(golden, attention, grid):
    """All crops of a file; attention (layers, M, H, T, T)."""
    return MaskContext(
        grid=grid, num_views=golden.scalar('n_crops'),
        batch_size=golden.scalar('batch_per_crop'), draws=replayed(golden),
        attention=dict(enumerate(attention)), num_layers=len(attention))


def score_names(golden):
    """(variant, name) of every stored score."""
    return [(variant, name) for variant in golden.names('')
            for name in golden.names(f'{variant}/score/')]


def close(value, expected, limit, what=''):
    """Deviation relative to the largest number.

    What is stored in float32 cannot be met better than to 1e-6.
    """
    expected = torch.as_tensor(np.asarray(expected))
    if expected.dtype == torch.float32:
        limit = max(limit, 1e-6)
    assert value.shape == expected.shape, what
    error = (value.double() - expected).abs().max() / expected.abs().max()
    assert error <= limit, f'{what}: {error:.1e}'


def check_score_and_mask(golden, context, variant, name, limit):
    """One stored score and its mask through the public classes."""
    score = score_of(name, variant)
    views = context.num_views if variant == 'multi' else None
    parts = [context]
    if views:
        parts = [context.view(view) for view in range(views)]
    scores = torch.cat([score(part) for part in parts])
    assert scores.dtype == context.attention[0].dtype
    what = f'{variant} {name} {scores.dtype}'
    close(scores, golden[f'{variant}/score/{name}'], limit, what)
    mask = generator_of(score, num_views=views)(context)
    expected = golden[f'{variant}/mask/{name}']
    np.testing.assert_array_equal(mask.hidden[:, 0].numpy(), expected, what)
    assert mask.capacity == expected.sum(), what
