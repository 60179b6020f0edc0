"""Optimiser wrapper: clipping, freezing, precision, accumulation."""
from __future__ import annotations

import contextlib

import pytest
import torch
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn

from mimplug.engine.optim import OptimWrapper, clip_grads_
from mimplug.errors import ConfigError


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def wrap(model, lr=0.1, weight_decay=0.0, **kwargs):
    return OptimWrapper(torch.optim.AdamW(
        model.parameters(), lr=lr, weight_decay=weight_decay), **kwargs)


def naive_clip(grads, limit, per_tensor):
    """The reference's loop, with host numbers."""
    norms = [float(grad.norm()) for grad in grads]
    total = sum(norm**2 for norm in norms)**0.5
    return [grad * min(1.0, limit / ((norm if per_tensor else total) + 1e-6))
            for grad, norm in zip(grads, norms)], total


class TestClipping:

    @pytest.mark.property
    @pytest.mark.parametrize('per_tensor', [True, False])
    @pytest.mark.parametrize('limit', [0.01, 1.0, 3.0, 1e6])
    def test_equals_a_naive_loop(self, per_tensor, limit):
        torch.manual_seed(0)
        grads = [scale * torch.randn(*shape, dtype=torch.float64)
                 for scale, shape in ((1, (3, 4)), (10, (5,)), (0.1, (1, 1)),
                                      (0, (2, 2)))]
        expected, total = naive_clip(grads, limit, per_tensor)
        value = clip_grads_(grads, limit, per_tensor=per_tensor)
        assert value.item() == pytest.approx(total, rel=1e-12)
        for grad, clipped in zip(grads, expected):
            torch.testing.assert_close(grad, clipped, rtol=1e-12, atol=0)

    @pytest.mark.unit
    @pytest.mark.parametrize('dtypes', [
        (torch.bfloat16, torch.bfloat16), (torch.float32, torch.float64)])
    def test_one_factor_for_all_in_any_type(self, dtypes):
        grads = [torch.ones(4, dtype=dtype) for dtype in dtypes]
        clip_grads_(grads, 1.0, per_tensor=False)
        for grad, dtype in zip(grads, dtypes):
            assert grad.dtype == dtype
            torch.testing.assert_close(
                grad.float(), torch.full((4,), 8**-0.5), rtol=4e-3, atol=0)

    @pytest.mark.unit
    def test_wrapper_keeps_the_norm_before_clipping(self):
        model = network()
        wrapper = wrap(model, clip_grad=dict(max_norm=1e-3))
        wrapper.backward((model(torch.ones(2, 3))**2).sum())
        norm = torch.cat([p.grad.flatten() for p in model.parameters()]
                         ).norm()
        wrapper.step()
        torch.testing.assert_close(wrapper.grad_norm, norm)
        for parameter in model.parameters():  # per tensor is the default
            assert parameter.grad.norm().item() == pytest.approx(
                1e-3, rel=0.01)

    @pytest.mark.unit
    def test_no_clipping_without_limit(self):
        model = network()
        wrapper = wrap(model)
        wrapper.backward((model(torch.ones(2, 3))**2).sum())
        before = [p.grad.clone() for p in model.parameters()]
        wrapper.step()
        assert all(torch.equal(p.grad, grad) for p, grad
                   in zip(model.parameters(), before))
        torch.testing.assert_close(wrapper.grad_norm, torch.cat([
            grad.flatten() for grad in before]).norm())


class TestFreezing:

    @pytest.mark.unit
    def test_frozen_parameters_do_not_move_and_have_no_state(self):
        model = network()
        wrapper = wrap(model, weight_decay=0.5,
                       clip_grad=dict(max_norm=1.0, per_tensor=False))
        frozen = list(model[1].parameters())
        wrapper.freeze(frozen)
        before = [p.detach().clone() for p in model.parameters()]
        loss = (model(torch.ones(2, 3))**2).sum()
        norm = torch.cat([grad.flatten() for grad in torch.autograd.grad(
            loss, list(model.parameters()), retain_graph=True)]).norm()
        wrapper.update_params(loss)
        assert torch.equal(model[1].weight, before[2])
        assert torch.equal(model[1].bias, before[3])
        assert not torch.equal(model[0].weight, before[0])
        assert not any(p in wrapper.optimizer.state for p in frozen)
        # Clipping comes first and sees the frozen gradients, too.
        torch.testing.assert_close(wrapper.grad_norm, norm)

    @pytest.mark.unit
    def test_released_parameters_start_their_own_count(self):
        model = network()
        wrapper = wrap(model)
        wrapper.freeze(model[1].parameters())
        for step in range(3):
            if step == 2:
                wrapper.freeze([])
            wrapper.update_params(model(torch.ones(2, 3)).sum())
        state = wrapper.optimizer.state
        assert state[model[0].weight]['step'].item() == 3
        assert state[model[1].weight]['step'].item() == 1


class TestPrecision:

    @pytest.mark.unit
    @pytest.mark.parametrize('dtype, expected', [
        (None, torch.float32), ('bfloat16', torch.bfloat16),
        ('float16', torch.float16)])
    def test_autocast(self, dtype, expected):
        model = network()
        wrapper = wrap(model, dtype=dtype)
        with wrapper.optim_context(model):
            out = model(torch.ones(2, 3))
        assert out.dtype == expected
        assert model(torch.ones(2, 3)).dtype == torch.float32
        assert (wrapper.scaler is not None) == (dtype == 'float16')
        wrapper.update_params(out.float().square().sum())
        assert all(p.dtype == torch.float32 and torch.isfinite(p).all()
                   for p in model.parameters())

    @pytest.mark.unit
    def test_scaled_gradients_are_unscaled_before_clipping(self):
        results = []
        for dtype in (None, 'float16'):
            model = network()
            wrapper = wrap(model, dtype=dtype, loss_scale=1024.0,
                           clip_grad=dict(max_norm=0.5))
            wrapper.update_params((model(torch.ones(2, 3))**2).sum())
            results.append([wrapper.grad_norm, *model.parameters()])
        for exact, scaled in zip(*results):
            torch.testing.assert_close(exact, scaled)

    @pytest.mark.unit
    def test_overflow_skips_the_step_and_lowers_the_scale(self):
        model = network()
        wrapper = wrap(model, dtype='float16', loss_scale=1024.0,
                       clip_grad=dict(max_norm=1.0))
        before = [p.detach().clone() for p in model.parameters()]
        wrapper.update_params(model(torch.ones(2, 3)).sum() * float('inf'))
        assert all(torch.equal(p, old)
                   for p, old in zip(model.parameters(), before))
        assert wrapper.scaler.get_scale() == 512.0
        wrapper.update_params(model(torch.ones(2, 3)).sum())
        assert not torch.equal(model[0].weight, before[0])

    @pytest.mark.unit
    def test_state_round_trip(self):
        model = network()
        wrapper = wrap(model, dtype='float16', loss_scale=1024.0)
        wrapper.update_params(model(torch.ones(2, 3)).sum() * float('inf'))
        wrapper.update_params(model(torch.ones(2, 3)).sum())
        state = wrapper.state_dict()
        other = wrap(network(), dtype='float16')
        other.load_state_dict(state)
        assert other.scaler.get_scale() == 512.0
        assert other.state_dict()['loss_scaler'] == state['loss_scaler']
        assert 'loss_scaler' in state  # loading did not eat it
        # A run goes on in another precision.
        plain = wrap(network())
        plain.load_state_dict(state)
        assert 'loss_scaler' not in plain.state_dict()
        other.load_state_dict(plain.state_dict())
        assert other.scaler.get_scale() == 512.0


class TestAccumulation:

    @pytest.mark.unit
    def test_gradients_of_micro_batches_are_averaged(self):
        batches = torch.randn(3, 2, 3)
        results = []
        for count in (1, 3):
            model = network()
            wrapper = wrap(model, accumulative_counts=count)
            parts = batches if count == 3 else [batches.flatten(0, 1)]
            moved = []
            before = model[0].weight.detach().clone()
            for part in parts:
                wrapper.update_params((model(part)**2).mean())
                moved.append(not torch.equal(before, model[0].weight))
            assert moved == [False] * (count - 1) + [True]
            results.append(list(model.parameters()))
        for whole, parts in zip(*results):
            torch.testing.assert_close(whole, parts)

    @pytest.mark.unit
    def test_ranks_wait_for_each_other_only_at_a_step(self):
        calls = []

        class Distributed(nn.Linear):

            @contextlib.contextmanager
            def no_sync(self):
                calls.append(wrapper.inner_count)
                yield

        model = Distributed(3, 2)
        wrapper = wrap(model, accumulative_counts=2)
        for _ in range(4):
            with wrapper.optim_context(model):
                loss = model(torch.ones(1, 3)).sum()
            wrapper.update_params(loss)
        assert calls == [0, 2]


@pytest.mark.unit
def test_built_from_a_config():
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    clip_grad = dict(max_norm=3.0, per_tensor=False)
    wrapper = OPTIM_WRAPPERS.build(dict(
        type='mimplug.OptimWrapper', optimizer=optimizer, dtype='bfloat16',
        clip_grad=clip_grad))
    assert isinstance(wrapper, OptimWrapper)
    assert clip_grad == dict(max_norm=3.0, per_tensor=False)


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(dtype='bfloat'), "dtype='bfloat': .*did you mean 'bfloat16'"),
    (dict(accumulative_counts=0), 'accumulative_counts=0: must be >= 1'),
    (dict(clip_grad=dict(max_nrm=1.0)), "did you mean 'max_norm'"),
    (dict(clip_grad=dict(per_tensor=True)), 'max_norm must be > 0'),
    (dict(clip_grad=dict(max_norm=0.0)), 'max_norm must be > 0'),
])
def test_errors(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        wrap(network(), **kwargs)
