"""Steps that do not happen, for every kind of optimiser."""
from __future__ import annotations

import copy
import warnings

import pytest
import torch
from mmpretrain.engine.optimizers import LARS, Lamb
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Rprop

from mimplug.engine.optim import OptimWrapper, guarded_step
from mimplug.engine.optim.guard import keeps_host_counts, skips_on_device

DECAY = dict(lr=0.05, weight_decay=0.1)
KINDS = {
    'AdamW-fused': (AdamW, dict(DECAY, fused=True)),
    'Adam-amsgrad-fused': (Adam, dict(DECAY, amsgrad=True, fused=True)),
    'SGD-fused': (SGD, dict(DECAY, fused=True)),
    'SGD-momentum-fused': (SGD, dict(DECAY, momentum=0.9, fused=True)),
    'SGD-nesterov-fused': (
        SGD, dict(DECAY, momentum=0.9, nesterov=True, fused=True)),
    'AdamW': (AdamW, dict(DECAY)),
    'AdamW-foreach': (AdamW, dict(DECAY, foreach=True)),
    'SGD': (SGD, dict(DECAY)),
    'SGD-momentum': (SGD, dict(DECAY, momentum=0.9)),
    'Adagrad-fused': (Adagrad, dict(DECAY, fused=True)),
    'LARS': (LARS, dict(DECAY, momentum=0.9)),
    'LAMB': (Lamb, dict(DECAY)),
}
IN_KERNEL = {name for name in KINDS if name.endswith('fused')} - {
    'Adagrad-fused'}


def build(kind):
    """Three parameters, the last without a gradient, and an optimiser."""
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(3, 5)),
                  nn.Parameter(torch.randn(70)),
                  nn.Parameter(torch.randn(4))]
    cls, kwargs = KINDS[kind]
    return parameters, cls(parameters, **kwargs)


def everything(parameters, optimizer):
    """All numbers, of group and state, by place."""
    values = {f'{i}': p.detach() for i, p in enumerate(parameters)}
    for i, parameter in enumerate(parameters):
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                values[f'{i}/{key}'] = torch.as_tensor(value)
    for i, group in enumerate(optimizer.param_groups):
        for key, value in group.items():
            if isinstance(value, (int, float)):
                values[f'group {i}/{key}'] = torch.as_tensor(value)
    return {key: value.clone() for key, value in values.items()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for key, value in left.items():
        assert torch.equal(value, right[key]), key


def step(parameters, optimizer, seed, bad=None):
    """One step; ``bad`` is a value for one entry of one gradient."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters[:2]:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    if bad is not None:
        parameters[1].grad[7] = bad
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # LAMB counts on the host
        guarded_step(optimizer, torch.tensor(bad is None))


@pytest.mark.property
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
@pytest.mark.parametrize('kind', KINDS)
def test_a_bad_step_leaves_no_trace(kind, bad):
    parameters, optimizer = build(kind)
    step(parameters, optimizer, 0)
    step(parameters, optimizer, 1)
    before = everything(parameters, optimizer)
    step(parameters, optimizer, 2, bad)
    assert_same(everything(parameters, optimizer), before)
    step(parameters, optimizer, 3)
    after = everything(parameters, optimizer)
    assert not torch.equal(after['0'], before['0'])
    # and the whole run is the one in which that batch never came
    others, other = build(kind)
    for seed in (0, 1, 3):
        step(others, other, seed)
    assert_same(everything(others, other), after)


@pytest.mark.property
@pytest.mark.parametrize('kind', KINDS)
def test_a_bad_first_step_starts_nothing(kind):
    """Fused SGD's momentum would stay memory that nobody has written."""
    parameters, optimizer = build(kind)
    before = [parameter.detach().clone() for parameter in parameters]
    step(parameters, optimizer, 0, float('nan'))
    assert all(map(torch.equal, parameters, before))
    for seed in (1, 2):
        step(parameters, optimizer, seed)
    others, other = build(kind)
    for seed in (1, 2):
        step(others, other, seed)
    assert_same(everything(others, other), everything(parameters, optimizer))


@pytest.mark.unit
def test_dampened_momentum_is_selected():
    """Its first gradient is not dampened: zeros would be a wrong start."""
    _, optimizer = build('SGD-momentum-fused')
    optimizer.param_groups[0]['dampening'] = 0.5
    assert not skips_on_device(optimizer)


@pytest.mark.unit
@pytest.mark.parametrize('kind', KINDS)
def test_which_kernels_decide_themselves(kind):
    _, optimizer = build(kind)
    assert skips_on_device(optimizer) == (kind in IN_KERNEL)
    assert not hasattr(optimizer, 'found_inf')


@pytest.mark.unit
def test_momentum_of_a_released_layer():
    """Fused SGD cannot mix parameters with and without a buffer."""
    results = []
    for kind in ('SGD-momentum-fused', 'SGD-momentum'):
        parameters, optimizer = build(kind)
        step(parameters, optimizer, 0)
        parameters[2].grad = torch.ones(4)
        step(parameters, optimizer, 1)
        results.append(everything(parameters, optimizer))
    fused, plain = results
    for key in ('0', '1', '2', '2/momentum_buffer'):
        torch.testing.assert_close(fused[key], plain[key])


@pytest.mark.unit
def test_a_counter_on_the_host_is_said():
    parameters, optimizer = build('LAMB')
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    with pytest.warns(UserWarning, match='Lamb counts on the host'):
        guarded_step(optimizer, torch.tensor(True))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for kind in ('SGD-momentum', 'AdamW', 'Adagrad-fused'):
            step(*build(kind), 0)


@pytest.mark.unit
def test_host_counts_of_adam_beside_a_device():
    meta = [nn.Parameter(torch.ones(2, device='meta'))]
    assert keeps_host_counts(AdamW(meta))
    assert keeps_host_counts(Rprop(meta))
    assert not keeps_host_counts(AdamW(meta, capturable=True))
    assert not keeps_host_counts(SGD(meta, momentum=0.9))
    assert not keeps_host_counts(AdamW([nn.Parameter(torch.ones(2))]))
    with pytest.warns(UserWarning, match='every step waits for the device'):
        OptimWrapper(AdamW(meta))


class TestWrapper:

    @staticmethod
    def make(accumulation=1, dtype=None, **kwargs):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))
        wrapper = OptimWrapper(
            AdamW(model.parameters(), fused=True, **DECAY), dtype=dtype,
            accumulative_counts=accumulation, loss_scale=8.0,
            clip_grad=dict(max_norm=0.3), **kwargs)
        return model, wrapper

    @staticmethod
    def run(model, wrapper, iteration, broken=None):
        """A micro-batch; ``broken`` says what is not finite."""
        images = torch.randn(
            2, 3, generator=torch.Generator().manual_seed(iteration))
        handle = None
        if broken == 'gradient':
            handle = model[0].weight.register_hook(
                lambda grad: grad + float('inf'))
        with wrapper.optim_context(model):
            loss = model(images).square().mean()
        if broken == 'loss':
            loss = loss + float('inf')
        wrapper.update_params(loss)
        if handle is not None:
            handle.remove()

    def numbers(self, model, wrapper):
        return everything(list(model.parameters()), wrapper.optimizer)

    @pytest.mark.property
    @pytest.mark.parametrize('broken', ['loss', 'gradient'])
    @pytest.mark.parametrize('dtype', [None, 'bfloat16', 'float16'])
    @pytest.mark.parametrize('accumulation, which', [(1, 0), (2, 0), (2, 1)])
    def test_a_bad_micro_batch_spoils_its_step(self, broken, dtype,
                                               accumulation, which):
        model, wrapper = self.make(accumulation, dtype)
        counts = []
        for step_ in range(4):
            before = self.numbers(model, wrapper)
            for part in range(accumulation):
                bad = step_ in (1, 2) and part == which
                self.run(model, wrapper, step_ * accumulation + part,
                         broken if bad else None)
            counts.append((wrapper.finite.item(), wrapper.skipped.item(),
                           wrapper.consecutive.item()))
            if step_ in (1, 2):
                assert_same(self.numbers(model, wrapper), before)
        assert counts == [(True, 0, 0), (False, 1, 1), (False, 2, 2),
                          (True, 2, 0)]
        # the run that never saw the bad groups
        other, reference = self.make(accumulation, dtype)
        for step_ in (0, 3):
            for part in range(accumulation):
                self.run(other, reference, step_ * accumulation + part)
        if dtype == 'float16':  # the scale fell twice
            assert wrapper.scaler.get_scale() == 2.0
        assert_same(self.numbers(other, reference),
                    self.numbers(model, wrapper))

    @pytest.mark.unit
    def test_counters_are_saved(self):
        model, wrapper = self.make()
        self.run(model, wrapper, 0, 'loss')
        wrapper.note_counts(1, 1)
        state = wrapper.state_dict()
        self.run(model, wrapper, 1, 'loss')
        assert state['guard']['skipped'].item() == 1  # not a live view
        _, other = self.make()
        other.load_state_dict(copy.deepcopy(state))
        assert (other.skipped.item(), other.consecutive.item(),
                other.known_skipped) == (1, 1, 1)
        del state['guard']  # a file of before
        other.load_state_dict(state)
        assert other.known_skipped == 1

    @pytest.mark.unit
    def test_kernels_are_those_of_this_run(self):
        """A file of unfused AdamW must not switch the guard's kernel off."""
        model, wrapper = self.make()
        self.run(model, wrapper, 0)
        plain = OptimWrapper(AdamW(model.parameters(), foreach=True))
        self.run(model, plain, 0)
        wrapper.load_state_dict(plain.state_dict())
        assert skips_on_device(wrapper.optimizer)
        before = self.numbers(model, wrapper)
        self.run(model, wrapper, 1, 'gradient')
        assert_same(self.numbers(model, wrapper), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
@pytest.mark.parametrize('kind', KINDS)
def test_a_bad_step_on_cuda(kind):
    cls, kwargs = KINDS[kind]
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(9, 5, device='cuda'))]
    optimizer = cls(parameters, **kwargs)
    for finite in (False, True, False):
        parameters[0].grad = torch.randn_like(parameters[0])
        if not finite:
            parameters[0].grad[0] = float('nan')
        before = everything(parameters, optimizer)
        flag = torch.tensor(finite, device='cuda')
        if kind in IN_KERNEL:
            torch.cuda.set_sync_debug_mode('error')
        try:
            guarded_step(optimizer, flag)
        finally:
            torch.cuda.set_sync_debug_mode('default')
        after = everything(parameters, optimizer)
        assert finite != torch.equal(before['0'], after['0'])
        if not finite and optimizer.state:
            assert all(value.isfinite().all() for value in after.values())
