"""What every registered generator must hold, and how one is built."""
from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from mimplug.draws import SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    AttentionMask,
    BlockMask,
    Mask,
    MaskGenerator,
    NoMask,
    RandomMask,
    ScoreMask,
    StratifiedRatio,
    UniformRatio,
    build_generator,
)
from mimplug.registry import TASK_UTILS


def instances():
    """(class, arguments) of every registered generator's examples."""
    for name, part in sorted(TASK_UTILS.module_dict.items()):
        if inspect.isclass(part) and issubclass(part, MaskGenerator):
            for number, kwargs in enumerate(part.examples):
                yield pytest.param(
                    dict(type=f'mimplug.{name}', **kwargs),
                    id=f'{name}-{number}')


every_generator = pytest.mark.parametrize('config', list(instances()))
every_random_generator = pytest.mark.parametrize('config', [
    case for case in instances() if case.id != 'NoMask-0'])


def keys_of(index, epoch=0):
    index = np.asarray(index)
    return SampleKeys(np.full_like(index, epoch), index, 0 * index)


@pytest.mark.property
@every_generator
@pytest.mark.parametrize('batch, views, grid', [
    (4, 2, (6, 5)), (1, 1, (3, 4)), (3, 3, (2, 9))])
def test_shape_capacity_and_no_sync(
        config, batch, views, grid, make_context, no_sync):
    generator = build_generator(config)
    generator.check(grid, num_layers=3)
    context = make_context(
        batch=batch, views=views, grid=grid, attention=True)
    with no_sync():
        mask = generator(context)
        mask.hidden_rows()
    assert mask.hidden.shape == (batch * views, generator.channels, *grid)
    assert (mask.dropped is not None) == generator.drops
    hidden = mask.hidden.sum().item()
    assert mask.capacity >= hidden
    if generator.exact_count:
        assert mask.capacity == hidden


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@every_generator
def test_cuda_hides_the_same_and_never_waits(config, make_context):
    generator = build_generator(config)
    context = make_context(batch=64, grid=(14, 14), attention=True)
    expected = generator(context)
    moved = replace(context, device='cuda', attention={
        layer: value.cuda() for layer, value in context.attention.items()})
    generator(moved)
    torch.cuda.set_sync_debug_mode('error')
    try:
        mask = generator(moved)
        index, valid = mask.hidden_rows()
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert torch.equal(mask.hidden.cpu(), expected.hidden)
    assert mask.capacity == expected.capacity
    for found, wanted in zip((index, valid), expected.hidden_rows()):
        assert torch.equal(found.cpu(), wanted)


@pytest.mark.unit
def test_guard_against_syncs_works(no_sync):
    one = torch.ones(1)
    for name in ('__float__', '__bool__', '__int__', 'item', 'numpy', 'cpu'):
        with no_sync(), pytest.raises(AssertionError, match='read on the'):
            getattr(one, name)()
    with no_sync(), pytest.raises(AssertionError, match='read on the'):
        float(one)
    assert float(one) == 1


@pytest.mark.property
@every_generator
def test_same_key_same_mask(config, make_context):
    generator = build_generator(config)
    masks = [generator(make_context(attention=True)) for _ in range(2)]
    assert torch.equal(masks[0].hidden, masks[1].hidden)


@pytest.mark.property
@every_random_generator
@pytest.mark.parametrize('change', ['seed', 'epoch', 'index', 'view'])
def test_another_key_gives_another_mask(config, change, make_context):
    generator = build_generator(config)
    index = np.arange(64)
    context = make_context(keys=keys_of(index), views=1, attention=True)
    other = dict(keys=keys_of(index), views=1, seed=0)
    if change == 'view':
        other['draws'] = make_context(keys=keys_of(index)).draws.for_view(1)
    elif change == 'seed':
        other['seed'] = 1
    else:
        other['keys'] = (keys_of(index, 1) if change == 'epoch'
                         else keys_of(index + 1000))
    changed = generator(make_context(attention=True, **other))
    same = (generator(context).hidden == changed.hidden).flatten(1).all(1)
    assert same.sum() < 48


@pytest.mark.property
@every_generator
def test_rows_are_independent_and_ranks_do_not_matter(config, make_context):
    """A batch of 6 equals two ranks with 3 images each."""
    generator = build_generator(config)
    if generator.batch_coupled:
        pytest.skip('declared as coupled')
    index = np.array([5, 2, 9, 14, 0, 3])
    whole = make_context(keys=keys_of(index), attention=True)
    mask = generator(whole).hidden.unflatten(0, (2, 6))
    for rank in range(2):
        part = slice(3 * rank, 3 * rank + 3)
        attention = {
            layer: value.unflatten(0, (2, 6))[:, part].flatten(0, 1)
            for layer, value in whole.attention.items()}
        local = replace(
            make_context(keys=keys_of(index[part]), rank=rank),
            attention=attention, num_layers=3)
        assert torch.equal(
            generator(local).hidden.unflatten(0, (2, 3)), mask[:, part])


@pytest.mark.property
@every_generator
def test_views_one_by_one_equal_the_batch(config, make_context):
    """So that a combinator may give each view its own generator."""
    generator = build_generator(config)
    if generator.batch_coupled:
        pytest.skip('declared as coupled')
    context = make_context(attention=True)
    mask = Mask.cat([generator(context.view(view)) for view in range(2)])
    whole = generator(context)
    assert torch.equal(mask.hidden, whole.hidden)
    assert mask.capacity == whole.capacity


@pytest.mark.property
@pytest.mark.parametrize('per, equal', [
    ('view', True), ('image', True), ('batch', True), ('rank', False)])
def test_ratio_per_rank_is_the_only_one_that_knows_ranks(
        per, equal, make_context):
    generator = RandomMask(UniformRatio(0.5, 0.5, per))
    masks = [generator(make_context(keys=keys_of([1, 2]), rank=rank))
             for rank in range(2)]
    assert torch.equal(masks[0].hidden, masks[1].hidden) is equal


@pytest.mark.unit
def test_coupling_comes_from_the_ratio():
    for kind in (RandomMask, BlockMask, AttentionMask):
        assert not kind(ratio=0.3).batch_coupled
        assert kind(ratio=StratifiedRatio()).batch_coupled


@pytest.mark.unit
def test_a_new_score_needs_one_method(make_context):

    class FirstTokens(ScoreMask):

        def scores(self, context):
            return -torch.arange(30.).expand(context.rows, 30)

    mask = FirstTokens(0.2)(make_context())
    assert mask.tokens[:, :6].all()
    assert mask.capacity == mask.tokens.sum() == 6 * 8


@pytest.mark.unit
@pytest.mark.parametrize('scope', [None, 'mmengine', 'mmpretrain', 'mimplug'])
@pytest.mark.parametrize('prefix', ['', 'mimplug.'])
def test_types_are_found_from_any_scope(scope, prefix):
    config = dict(
        type=f'{prefix}RandomMask',
        ratio=dict(type=f'{prefix}UniformRatio', mean=0.3, var=0.1))
    with DefaultScope.overwrite_default_scope(scope):
        generator = build_generator(config)
    assert generator.ratio.var == 0.1
    assert 'type' in config


@pytest.mark.unit
@pytest.mark.parametrize('config, message', [
    (dict(type='AttentionMsk'), "did you mean 'AttentionMask'"),
    (dict(type='mimplug.BlokMask'), "did you mean 'BlockMask'"),
    (dict(type='FixedRatio', value=0.3), 'of another kind'),
    (dict(type='BlockMask', ration=0.3), "did you mean 'ratio'"),
    (dict(type='RandomMask'), 'RandomMask needs ratio'),
    (dict(ratio=0.3), 'needs a dict with a type'),
    (dict(type='RandomMask', ratio=dict(type='FixedRatio', value=7)),
     'ratio=7'),
    (None, 'needs a dict'),
])
def test_wrong_config(config, message):
    with pytest.raises(ConfigError, match=message):
        build_generator(config)


@pytest.mark.unit
def test_an_object_or_a_class_is_taken_as_it_is():
    generator = NoMask()
    assert build_generator(generator) is generator
    assert isinstance(build_generator(dict(type=NoMask)), NoMask)
