"""A model cut over two processes computes what a whole one computes."""
from __future__ import annotations

import copy

import pytest
import torch
import torch.distributed as torch_dist
from test_distributed import STEPS, assert_close, attention
from toy_ibot import tiny_ibot
from toy_ranks import on_two_ranks, train

from mimplug.engine import TwoGroupConstructor
from mimplug.engine.distributed import (
    shard_groups,
    shard_like,
    shard_model,
    shard_optimizer_state,
    whole,
)
from mimplug.models.teacher import local_shards

CASES = {
    'attention': attention('view'),
    'recomputed': dict(attention('batch'), backbone=dict(with_cp=True)),
}


@pytest.mark.unit
def test_groups_are_the_blocks_but_the_last_and_the_heads():
    model = tiny_ibot(backbone=dict(arch=dict(
        embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)))
    names = {module: name for name, module in model.named_modules()}
    groups = [[names[part] for part in group]
              for group in shard_groups(model)]
    inside = ('ln1', 'attn.qkv', 'attn.proj', 'ln2', 'ffn.layers.0.0',
              'ffn.layers.1')
    assert [set(group) for group in groups] == [
        {f'{net}.layers.{i}.{part}' for part in inside}
        for net in ('backbone', ) for i in range(3)
    ] + [{'head.mlp'}] + [
        {f'teacher.backbone.layers.{i}.{part}' for part in inside}
        for i in range(3)
    ] + [{'teacher.head.mlp'}]


@pytest.mark.unit
def test_whole_tensors_pass_through():
    tensor = torch.ones(1)
    assert local_shards([tensor])[0] is tensor
    assert shard_like(tensor, torch.zeros(1)) is tensor
    state = dict(a=[tensor, (1, 'b')], c=None)
    assert whole(state) == state


def on_ranks(cases):
    """What one of two processes records."""
    return (
        {name: train(settings, sharded=True)
         for name, settings in cases.items()},
        round_trip())


def round_trip():
    """Whole states, loaded into another sharded model and put together."""
    source = train(CASES['attention'], sharded=True)
    model = shard_model(tiny_ibot(seed=5).double())
    wrapper = TwoGroupConstructor(dict(
        optimizer=dict(type='AdamW', lr=1e-2, fused=True)))(model)
    own = model.state_dict()
    model.load_state_dict({name: shard_like(value, own[name])
                           for name, value in source['model'].items()})
    wrapper.load_state_dict(shard_optimizer_state(
        copy.deepcopy(source['optimizer']), wrapper.optimizer))
    sizes = {name: tuple(local_shards([value])[0].shape)
             for name, value in model.named_parameters()}
    # the next step has to find states that fit its shards
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    wrapper.optimizer.step()
    results = dict(source=source, sizes=sizes,
                   model=whole(model.state_dict()),
                   rank=torch_dist.get_rank())
    wrapper.load_state_dict(shard_optimizer_state(
        copy.deepcopy(source['optimizer']), wrapper.optimizer))
    results['optimizer'] = whole(wrapper.state_dict())
    return results


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """One process unsharded, and each rank of two."""
    folder = tmp_path_factory.mktemp('sharded')
    return ({name: train(settings) for name, settings in CASES.items()},
            on_two_ranks(on_ranks, CASES, folder))


@pytest.mark.full
@pytest.mark.dist
@pytest.mark.parametrize('name', CASES)
def test_sharded_training_equals_whole(runs, name):
    one = runs[0][name]
    ranks = [run[0][name] for run in runs[1]]
    for step in range(STEPS):
        for key, value in one['losses'][step].items():
            mean = sum(rank['losses'][step][key] for rank in ranks) / 2
            assert_close(mean, value, f'step {step}: {key}')
        for key, value in one['gradients'][step].items():
            assert_close(ranks[0]['gradients'][step][key], value, key)
    for rank in ranks:
        for key, value in one['model'].items():
            assert_close(rank['model'][key], value, key)
        # beside gathering and scattering: the norms and the centres
        assert [calls.count('all_reduce') for calls
                in rank['collectives']] == [2] * STEPS


@pytest.mark.full
@pytest.mark.dist
def test_states_go_to_files_and_back(runs):
    first, second = (run[1] for run in runs[1])
    assert first['rank'] != second['rank']
    for result in (first, second):
        source = result['source']
        for key, value in source['optimizer']['state'].items():
            for name, tensor in value.items():
                assert torch.equal(
                    result['optimizer']['state'][key][name], tensor)
                assert 'exp' not in name or tensor.abs().sum() > 0
    # each rank holds about a half
    for name, size in first['sizes'].items():
        total = first['source']['model'][name].shape
        assert size[0] + second['sizes'][name][0] == total[0]
        assert total[0] < 2 or size[0] < total[0]
