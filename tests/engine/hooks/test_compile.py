"""Block-wise compilation: same numbers, same keys, clear errors."""
from __future__ import annotations

import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from toy_ibot import GENERATORS, gradients, make_samples, make_views, tiny_ibot

from mimplug.engine import CompileHook
from mimplug.errors import ConfigError
from mimplug.registry import HOOKS
from mimplug.schedules import Progress

BLOCKS = ['backbone.layers.0', 'backbone.layers.1', 'head.mlp',
          'teacher.backbone.layers.0', 'teacher.backbone.layers.1',
          'teacher.head.mlp']


@pytest.fixture(autouse=True)
def _fresh_compiler():
    """No compiled code of another test, and torch's own limit afterwards."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    with torch._dynamo.config.patch(recompile_limit=8):
        yield
    torch._dynamo.reset()


def runner_of(model, **cfg):
    """What the hook looks at."""
    return SimpleNamespace(
        model=model, cfg=cfg, logger=logging.getLogger('mimplug-test'))


def pair(hook, **backbone):
    """A plain model and its compiled twin."""
    plain = tiny_ibot(
        backbone=dict(drop_path_rate=0.3, skip_dropped=False, **backbone),
        mask_generator=GENERATORS['high'])
    compiled = copy.deepcopy(plain)
    hook.before_run(runner_of(compiled))
    return plain, compiled


def steps_of(model, count=3):
    """Losses and gradients of some steps; the hidden tokens vary."""
    results = []
    for step in range(count):
        model.set_progress(Progress(step, 100, 0, 10))
        results.append(gradients(
            model, make_views(seed=step), make_samples(first=step)))
    return results


@pytest.mark.unit
@pytest.mark.parametrize('backend, with_cp', [
    pytest.param('aot_eager', False, marks=pytest.mark.full),
    ('eager', True)])
def test_compiled_blocks_give_the_same_numbers(backend, with_cp):
    plain, compiled = pair(CompileHook(backend), with_cp=with_cp)
    hidden = set()
    for (losses, grads), (others, regrads) in zip(
            steps_of(plain), steps_of(compiled), strict=True):
        hidden.add(losses['raw/hidden'].item())
        for name, value in losses.items():
            torch.testing.assert_close(value, others[name])
        for name, grad in grads.items():
            torch.testing.assert_close(grad, regrads[name],
                                       rtol=1e-4, atol=1e-6)
    assert len(hidden) > 1
    stats = torch._dynamo.utils.counters
    assert stats['stats']['unique_graphs'] > 0
    assert not stats['graph_break']


@pytest.mark.unit
def test_names_stay_and_dropped_rows_are_no_longer_skipped():
    model = tiny_ibot(backbone=dict(drop_path_rate=0.3))
    keys = list(model.state_dict())
    assert model.backbone.skips_on(torch.device('cpu'))
    CompileHook('eager').before_run(runner_of(model))
    assert list(model.state_dict()) == keys
    assert not model.backbone.skips_on(torch.device('cpu'))
    assert [name for name, module in model.named_modules()
            if module._compiled_call_impl is not None] == BLOCKS


@pytest.mark.unit
def test_graphs_are_shared_by_blocks_and_settle():
    """More blocks, as many graphs; more steps, no more of them."""
    counts = []
    for depth in (3, 5):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        arch = dict(embed_dims=16, num_layers=depth, num_heads=2,
                    feedforward_channels=32)
        _, model = pair(CompileHook('eager'), arch=arch)
        graphs = []
        for count in (3, 6):
            steps_of(model, count)
            graphs.append(
                torch._dynamo.utils.counters['stats']['unique_graphs'])
        assert graphs[0] == graphs[1]
        counts.append(graphs[0])
    assert counts[0] == counts[1]


@pytest.mark.unit
def test_in_a_runner(make_runner):
    runner = make_runner(
        [dict(type='mimplug.CompileHook', backend='eager', modules=['body'])],
        epochs=1)
    runner.model.set_progress(None)
    runner.train()
    assert runner.model.body._compiled_call_impl is not None
    assert runner.model.last_layer._compiled_call_impl is None


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_inductor_in_mixed_precision():
    plain, compiled = pair(CompileHook())
    with torch.autocast('cpu', torch.bfloat16):
        expected, results = steps_of(plain, 2), steps_of(compiled, 2)
    for (losses, grads), (others, regrads) in zip(expected, results):
        for name in ('loss_cls', 'loss_patch'):
            torch.testing.assert_close(losses[name], others[name],
                                       rtol=0.02, atol=0.02)
        whole, other = (
            torch.cat([grad.flatten() for grad in found.values()])
            for found in (grads, regrads))
        # fused kernels round less often
        assert (whole - other).norm() < 0.05 * whole.norm()


class TestErrors:

    @pytest.mark.unit
    @pytest.mark.parametrize('kwargs, message', [
        (dict(backend='inducter'), "did you mean 'inductor'"),
        (dict(mode='reduce-overhead'), 'mode=.*allowed: None, default'),
        (dict(backend='eager', mode='default'), "only for backend='induc"),
        (dict(modules='*.layers.*'), 'must be a list'),
    ])
    def test_at_construction(self, kwargs, message):
        with pytest.raises(ConfigError, match=message):
            HOOKS.build(dict(type='mimplug.CompileHook', **kwargs))

    @pytest.mark.unit
    def test_nothing_matches(self):
        hook = CompileHook('eager', modules=['*.layers.*', 'backbone.stem'])
        with pytest.raises(ConfigError, match=r"matches \['backbone.stem'\]"):
            hook.before_run(runner_of(tiny_ibot()))

    @pytest.mark.unit
    def test_whole_step_compiled_as_well(self):
        with pytest.raises(ConfigError, match='whole train_step'):
            CompileHook('eager').before_run(
                runner_of(tiny_ibot(), compile=True))
