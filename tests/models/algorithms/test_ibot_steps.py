"""Optimiser steps of iBOT: micro-batches, host reads, two processes."""
from __future__ import annotations

import contextlib
import gc

import pytest
import torch
from torch import multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from toy_ibot import (
    GENERATORS,
    gradients,
    make_samples,
    make_views,
    student_parameters,
    tiny_ibot,
    total,
)

from mimplug.engine import TwoGroupConstructor


@pytest.mark.property
def test_micro_batches_add_up_to_the_batch():
    """Gradient and centres of two halves are those of the whole."""
    views = make_views(4, dtype=torch.float64)
    samples = make_samples(4)
    kwargs = dict(backbone=dict(drop_path_rate=0.4),
                  mask_generator=GENERATORS['hint'])
    whole, halves = (tiny_ibot(**kwargs).double() for _ in range(2))
    losses, grads = gradients(whole, views, samples)
    whole.step_end(0.9)
    parts = []
    for part in (slice(0, 2), slice(2, 4)):
        parts.append(halves.loss([view[part] for view in views],
                                 samples[part]))
        (total(parts[-1]) / 2).backward()
    halves.step_end(0.9)
    for name in losses:
        torch.testing.assert_close(
            (parts[0][name] + parts[1][name]) / 2, losses[name],
            rtol=1e-9, atol=0, check_dtype=False)
    for name, parameter in student_parameters(halves).items():
        torch.testing.assert_close(parameter.grad, grads[name],
                                   rtol=1e-9, atol=1e-13)
    for name, value in halves.loss_module.state_dict().items():
        torch.testing.assert_close(
            value, whole.loss_module.state_dict()[name], rtol=1e-9, atol=0)


SYNCS = ('item', 'tolist', 'cpu', 'numpy', 'nonzero', '__float__', '__int__',
         '__bool__', '__index__')


@contextlib.contextmanager
def no_sync(monkeypatch):
    """Reading a tensor raises: on a GPU the host would wait for it."""

    def refuse(*args, **kwargs):
        raise AssertionError('a tensor was read on the host')

    with monkeypatch.context() as patch:
        for name in SYNCS:
            patch.setattr(torch.Tensor, name, refuse)
        yield


@pytest.mark.property
@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.parametrize('dtype, per_tensor', [
    (None, True), ('bfloat16', False)])
def test_nothing_is_read_from_the_device(
        generator, dtype, per_tensor, monkeypatch):
    model = tiny_ibot(mask_generator=GENERATORS[generator],
                      backbone=dict(drop_path_rate=0.2))
    wrapper = TwoGroupConstructor(dict(
        optimizer=dict(type='AdamW', lr=1e-3, fused=True), dtype=dtype,
        clip_grad=dict(max_norm=0.1, per_tensor=per_tensor)))(model)
    wrapper.freeze([p for name, p in student_parameters(model).items()
                    if 'last_layer' in name])
    views, samples = make_views(), make_samples()
    before = model.backbone.pos_embed.detach().clone()
    with no_sync(monkeypatch):
        for _ in range(2):
            with wrapper.optim_context(model):
                loss, _ = model.parse_losses(model.loss(views, samples))
            wrapper.update_params(loss)
            model.step_end(0.9)
    assert not torch.equal(before, model.backbone.pos_embed)


def test_the_guard_against_reading_works(monkeypatch):
    with no_sync(monkeypatch), pytest.raises(AssertionError, match='read'):
        float(torch.ones(()))


def part_of_rank(views, samples, rank, size):
    """The images of one of several processes."""
    part = slice(rank * size, (rank + 1) * size)
    return [view[part] for view in views], samples[part]


def run_rank(rank, folder, kwargs, views):
    """One of two processes; saves what it computed."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    model = tiny_ibot(**kwargs).double()
    ddp = DistributedDataParallel(model)
    mine, samples = part_of_rank(views, make_samples(4), rank, 2)
    losses = ddp(mine, samples, mode='loss')
    total(losses).backward()
    model.step_end(0.9)
    torch.save(dict(
        losses={name: value.detach() for name, value in losses.items()},
        grads={name: p.grad for name, p
               in student_parameters(model).items()},
        centers=model.loss_module.state_dict()), f'{folder}/rank{rank}.pt')
    del model, ddp
    gc.collect()  # the model would keep the threads of the group
    torch.distributed.destroy_process_group()


@pytest.mark.dist
def test_two_processes_are_one_with_the_whole_batch(tmp_path):
    kwargs = dict(backbone=dict(drop_path_rate=0.3), head=dict(shared=False),
                  mask_generator=GENERATORS['high'])
    views = make_views(4, dtype=torch.float64)
    mp.spawn(run_rank, (str(tmp_path), kwargs, views), nprocs=2)
    first, second = (torch.load(tmp_path / f'rank{rank}.pt')
                     for rank in (0, 1))
    model = tiny_ibot(**kwargs).double()
    losses, grads = gradients(model, views, make_samples(4))
    model.step_end(0.9)
    exact = dict(rtol=1e-9, atol=1e-13, check_dtype=False)
    for name, value in losses.items():
        mean = (first['losses'][name] + second['losses'][name]) / 2
        torch.testing.assert_close(mean, value.detach(), **exact)
    for name, grad in grads.items():
        torch.testing.assert_close(first['grads'][name], grad, **exact)
        assert torch.equal(first['grads'][name], second['grads'][name])
    for name, center in model.loss_module.state_dict().items():
        torch.testing.assert_close(first['centers'][name], center, **exact)
        assert torch.equal(first['centers'][name], second['centers'][name])
