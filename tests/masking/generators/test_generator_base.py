"""Parts that generators share, and how one is built."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from mimplug.draws import SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    AttentionMask,
    BlockMask,
    NoMask,
    RandomMask,
    ScoreMask,
    StratifiedRatio,
    UniformRatio,
    build_generator,
)


def keys_of(index, epoch=0):
    index = np.asarray(index)
    return SampleKeys(np.full_like(index, epoch), index, 0 * index)


@pytest.mark.unit
def test_guard_against_syncs_works(no_sync):
    one = torch.ones(1)
    for name in ('__float__', '__bool__', '__int__', 'item', 'numpy', 'cpu'):
        with no_sync(), pytest.raises(AssertionError, match='read on the'):
            getattr(one, name)()
    with no_sync(), pytest.raises(AssertionError, match='read on the'):
        float(one)
    for read in (lambda: one[one > 0], lambda: one.masked_select(one > 0),
                 lambda: torch.unique(one), lambda: torch.equal(one, one)):
        with no_sync(), pytest.raises(AssertionError, match='read on the'):
            read()
    assert float(one) == 1


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
