"""What every registered generator must hold: one loop over the registry.

A generator enters by being registered; its ``examples`` are what is built.
"""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from registered import (
    BATCHES,
    CLASSES,
    GRID,
    every_generator,
    keyed,
    keys_of,
    part_of,
    states,
    uncoupled,
)

from mimplug.errors import ConfigError
from mimplug.masking import PROVENANCE, Mask, RatioMask, build_generator
from mimplug.schedules import Progress


def check_counts(generator, mask, context):
    """Numbers that were promised against numbers that are there."""
    number = mask.hidden.flatten(1).sum(1).numpy()
    low, high = generator.limits(context.grid)
    assert low <= number.min()
    assert number.max() <= high
    assert number.sum() <= mask.capacity
    if generator.exact_count:
        assert number.sum() == mask.capacity
    if generator.exact_count and isinstance(generator, RatioMask):
        wanted = generator.counts(generator.ratio(context), context.grid)
        masked = number > 0 if generator.apply_prob < 1 else wanted >= 0
        assert np.array_equal(number[masked], wanted[masked])


def check_dropped(generator, mask, context):
    """The third state: apart from the hidden one, as many in each row."""
    assert (mask.dropped is not None) == generator.drops
    if not generator.drops:
        assert mask.num_dropped == 0
        return
    assert not (mask.hidden & mask.dropped).any()
    promised = generator.drop_counts(context.grid)
    if promised is not None:
        begun = max(epoch for epoch in promised
                    if epoch <= context.progress.epoch)
        assert mask.num_dropped == promised[begun]
    gone = mask.dropped.flatten(1)
    assert (gone.sum(1) == mask.num_dropped).all()
    if mask.num_dropped:
        kept = torch.ones_like(gone).scatter(1, mask.keep_ids(), False)
        assert torch.equal(kept, gone)


def found_rows(mask):
    """Tokens that are hidden and kept; masks of colours have no tokens."""
    if mask.hidden.shape[1] == 3:
        return ()
    return (*mask.hidden_rows(), mask.keep_ids())


@pytest.mark.property
@every_generator
@pytest.mark.parametrize('epoch', [0, 7])
def test_shape_counts_and_no_sync(config, epoch, make, no_sync):
    generator = build_generator(config)
    taken = 0
    for batch, views, grid in BATCHES:
        try:
            generator.check(grid, num_layers=3)
        except ConfigError:
            assert grid != GRID
            continue
        context = make(batch=batch, views=views, grid=grid,
                       progress=Progress(3, 10, epoch, 10))
        with no_sync():
            mask = generator(context)
            found_rows(mask)
        assert mask.hidden.shape == (
            batch * views, generator.channels, *grid)
        check_counts(generator, mask, context)
        check_dropped(generator, mask, context)
        taken += 1
    assert taken >= 3


@pytest.mark.property
@every_generator
def test_same_key_same_mask(config, make):
    generator = build_generator(config)
    first, second = (generator(make()) for _ in range(2))
    assert torch.equal(states(first), states(second))
    assert first.capacity == second.capacity


@pytest.mark.property
@keyed
@pytest.mark.parametrize('change', ['seed', 'epoch', 'index', 'view'])
def test_another_key_gives_another_mask(config, change, make):
    """Other images look the same here, so only draws can tell them apart."""
    generator = build_generator(config)
    index = np.arange(48)
    first = dict(keys=keys_of(index), views=1)
    other = dict(first)
    if change == 'view':
        other['draws'] = make(keys=keys_of(index)).draws.for_view(1)
    elif change == 'seed':
        other['seed'] = 1
    else:
        other['keys'] = (keys_of(index, 1) if change == 'epoch'
                         else keys_of(index + 1000))
    before, after = (states(generator(make(**part)))[0]
                     for part in (first, other))
    same = (before == after).flatten(1).all(1)
    assert same.sum() < 36


@pytest.mark.property
@uncoupled
@pytest.mark.parametrize('ranks', [2, 3, 6])
def test_rows_are_independent_and_ranks_do_not_matter(config, ranks, make):
    """A batch of 6 equals the batches of 2, 3 or 6 processes."""
    generator = build_generator(config)
    index = np.array([5, 2, 9, 14, 0, 3])
    whole = make(keys=keys_of(index))
    expected = generator(whole)
    size = 6 // ranks
    parts = []
    for rank in range(ranks):
        part = slice(size * rank, size * rank + size)
        mask = generator(part_of(make, whole, part, index, rank))
        assert torch.equal(
            states(mask, 2), states(expected, 2)[:, part])
        parts.append(mask.capacity)
    if generator.exact_count:
        assert sum(parts) == expected.capacity


@pytest.mark.property
@uncoupled
def test_order_in_the_batch_does_not_matter(config, make):
    generator = build_generator(config)
    index = np.array([5, 2, 9, 14])
    order = np.array([2, 0, 3, 1])
    whole = make(keys=keys_of(index))
    turned = generator(part_of(make, whole, order, index))
    expected = states(generator(whole), 2)[:, order]
    assert torch.equal(states(turned, 2), expected)


@pytest.mark.property
@uncoupled
def test_views_one_by_one_equal_the_batch(config, make):
    """So that a combinator may give each view its own generator."""
    generator = build_generator(config)
    context = make()
    mask = Mask.cat([generator(context.view(view)) for view in range(2)])
    whole = generator(context)
    assert torch.equal(states(mask), states(whole))
    assert mask.capacity == whole.capacity
    assert mask.num_dropped == whole.num_dropped


@pytest.mark.property
@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16])
@every_generator
def test_any_precision(config, dtype, make):
    context = make(batch=2, dtype=dtype)
    context = replace(
        context, features=context.features.to(dtype),
        difficulty=context.difficulty.to(dtype),
        saliency=context.saliency.to(dtype))
    mask = build_generator(config)(context)
    assert mask.hidden.sum() <= mask.capacity


@pytest.mark.unit
@pytest.mark.parametrize('name, part', CLASSES)
def test_says_where_it_comes_from(name, part):
    assert part.provenance in PROVENANCE
    if part.provenance != 'ours':
        assert 'Source:' in part.__doc__
        assert part.__dict__.get('provenance'), 'inherited by accident'


@pytest.mark.unit
def test_the_zoo_is_complete():
    assert len(CLASSES) >= 15


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@every_generator
def test_cuda_hides_the_same_and_never_waits(config, make):
    generator = build_generator(config)
    context = make(batch=64, grid=(14, 14))
    expected = generator(context)
    moved = replace(
        context, device='cuda', attention={
            layer: value.cuda()
            for layer, value in context.attention.items()},
        **{name: getattr(context, name).cuda() for name in (
            'features', 'difficulty', 'images', 'saliency')})
    generator(moved)
    torch.cuda.set_sync_debug_mode('error')
    try:
        mask = generator(moved)
        found = found_rows(mask)
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert torch.equal(states(mask).cpu(), states(expected))
    assert mask.capacity == expected.capacity
    wanted = found_rows(expected)
    for one, other in zip(found, wanted):
        assert (one is None) == (other is None)
        assert one is None or torch.equal(one.cpu(), other)
