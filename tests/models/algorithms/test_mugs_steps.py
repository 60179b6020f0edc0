"""Optimiser steps of Mugs: precision, products, resuming, processes."""
from __future__ import annotations

import gc

import pytest
import torch
from torch import multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode
from toy_ibot import gradients, student_parameters, total
from toy_mugs import mugs_samples, mugs_views, tiny_mugs

from mimplug.engine import TwoGroupConstructor

GENERATORS = {
    'none': None,
    'random': dict(type='mimplug.RandomMask', ratio=0.5, apply_prob=0.5),
    'attention': dict(type='mimplug.AttentionMask', ratio=0.4),
}
WEAK = [True, False, True, True]


@pytest.mark.unit
@pytest.mark.parametrize('generator', GENERATORS)
@pytest.mark.parametrize('dtype', [None, 'bfloat16'])
def test_optimiser_steps(generator, dtype):
    model = tiny_mugs(mask_generator=GENERATORS[generator],
                      backbone=dict(drop_path_rate=0.2))
    wrapper = TwoGroupConstructor(dict(
        optimizer=dict(type='AdamW', lr=1e-3, fused=True), dtype=dtype,
        clip_grad=dict(max_norm=3.0)))(model)
    views, samples = mugs_views(4), mugs_samples(4, weak=WEAK)
    before = model.backbone.pos_embed.detach().clone()
    losses = []
    for _ in range(2):
        with wrapper.optim_context(model):
            loss, _ = model.parse_losses(model.loss(views, samples))
        wrapper.update_params(loss)
        model.step_end(0.9, finite=wrapper.finite)
        losses.append(loss)
    assert torch.stack(losses).isfinite().all()
    assert not torch.equal(before, model.backbone.pos_embed)
    assert model.memories.teacher.rows.dtype == torch.float32
    assert model.memories.teacher.num_written == 8


class Products(TorchDispatchMode):
    """Shapes of all matrix products and of everything that is measured."""

    def __init__(self):
        super().__init__()
        self.products, self.measured = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        if name in ('aten::mm', 'aten::addmm'):
            left, right = args[-2:]
            self.products.append((*left.shape, right.shape[1]))
        if name.startswith(('aten::linalg_vector_norm', 'aten::norm')):
            self.measured.append(tuple(args[0].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.property
def test_one_product_with_each_queue_and_one_norm_of_each_row():
    model = tiny_mugs(
        instance=dict(queue=101, head=dict(out_channels=9)),
        local_group=dict(queue=103, memory=107, head=dict(out_channels=10)),
        group=dict(head=dict(num_prototypes=109)))
    views, samples = mugs_views(3, num_locals=4), mugs_samples(3)
    with Products() as seen:
        total(model.loss(views, samples)).backward()
    crops = 6 * 3

    def products_with(size):
        return sorted(shape for shape in seen.products if size in shape)

    def measured_of(width):
        return sorted(shape for shape in seen.measured if shape[-1] == width)

    for queue, width in ((101, 9), (103, 10)):
        assert products_with(queue) == [
            (crops, width, queue),  # forward
            (crops, queue, width)]  # for the gradient
        # the teacher's embeddings, which are stored, and of the student
        # before and after the predictor
        assert measured_of(width) == [(6, width)] + [(crops, width)] * 2
    assert products_with(107) == [
        (6, 16, 107), (crops, 16, 107)]  # teacher, student
    # what is stored and what searches; a memory as a whole is not
    assert measured_of(16) == [(3, 16), (3, 16), (6, 16), (crops, 16)]
    # one row for the centre, teacher, student and its two gradients
    assert products_with(109) == [
        (1, 8, 109), (6, 8, 109), (crops, 8, 109), (crops, 109, 8),
        (109, crops, 8)]


@pytest.mark.property
@pytest.mark.parametrize('generator', GENERATORS)
def test_half_precision_is_close(generator):
    kwargs = dict(mask_generator=GENERATORS[generator])
    views, samples = mugs_views(4), mugs_samples(4, weak=WEAK)
    exact = tiny_mugs(**kwargs).loss(views, samples)
    with torch.autocast('cpu', torch.bfloat16):
        rough = tiny_mugs(**kwargs).loss(views, samples)
    for name in ('instance', 'group'):
        torch.testing.assert_close(rough[f'raw/{name}'], exact[f'raw/{name}'],
                                   rtol=0.05, atol=0.05)
    assert rough['raw/local_group'].dtype == torch.float32


@pytest.mark.unit
def test_a_loaded_state_goes_on_bit_by_bit():
    """Memories, queues, pointers and what was written are in the state."""
    views, samples = mugs_views(4), mugs_samples(4, weak=WEAK)

    def train(model, steps):
        optimizer = torch.optim.SGD(student_parameters(model).values(), 0.1)
        found = []
        for _ in range(steps):
            optimizer.zero_grad()
            losses, _ = gradients(model, views, samples)
            optimizer.step()
            model.step_end(0.9)
            found.append(losses)
        return found

    first, second = tiny_mugs(), tiny_mugs(seed=1)
    train(first, 3)
    second.load_state_dict(first.state_dict())
    for one, two in zip(train(first, 2), train(second, 2)):
        assert all(torch.equal(value, two[name])
                   for name, value in one.items())
    state = second.state_dict()
    assert {name.split('.')[-2] for name in state
            if name.startswith('memories.') and name.endswith('rows')} == {
        'instance', 'local_group', 'student', 'teacher', 'labels'}
    assert all(torch.equal(value, state[name])
               for name, value in first.state_dict().items())


KWARGS = dict(backbone=dict(drop_path_rate=0.1), draws_seed=5)
BROKEN = 1  # step in which the loss of the last image is not finite


def run_steps(model, views, samples, whole):
    """Three steps without optimiser; the second one is broken."""
    found = []
    for step in range(3):
        model.zero_grad()
        inputs = [view.clone() for view in views]
        if step == BROKEN and whole:
            inputs[2][-1] = torch.inf
        losses = model(inputs, samples, mode='loss')
        total(losses).backward()
        bare = getattr(model, 'module', model)
        grads = {name: parameter.grad.clone() for name, parameter
                 in student_parameters(bare).items()}
        finite = torch.tensor(step != BROKEN)
        with torch.no_grad():
            for name, parameter in student_parameters(bare).items():
                if step != BROKEN:
                    parameter.sub_(grads[name], alpha=0.1)
        bare.step_end(0.9, finite=finite)
        found.append(dict(
            losses={name: value.detach() for name, value in losses.items()},
            grads=grads, buffers={
                name: value.clone() for name, value
                in bare.state_dict().items()
                if name.startswith(('memories.', 'loss_module.'))}))
    return found


def run_rank(rank, folder, options, views):
    """One of two processes; saves what it computed."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    model = DistributedDataParallel(
        tiny_mugs(**KWARGS, **options).double(), broadcast_buffers=False)
    part = slice(rank, None, 2)  # as KeyedSampler deals them out
    found = run_steps(model, [view[part] for view in views],
                      mugs_samples(4, weak=WEAK)[part], whole=rank == 1)
    torch.save(found, f'{folder}/rank{rank}.pt')
    del model, found
    gc.collect()  # the model would keep the threads of the group
    torch.distributed.destroy_process_group()


@pytest.mark.dist
@pytest.mark.parametrize('generator', ['none', 'attention'])
def test_two_processes_are_one_with_the_whole_batch(generator, tmp_path):
    """Losses, gradients, memories and queues; also where a loss breaks."""
    options = dict(mask_generator=GENERATORS[generator])
    views = mugs_views(4, num_locals=2, dtype=torch.float64)
    mp.spawn(run_rank, (str(tmp_path), options, views), nprocs=2)
    ranks = [torch.load(tmp_path / f'rank{rank}.pt') for rank in (0, 1)]
    model = tiny_mugs(**KWARGS, **options).double()
    expected = run_steps(model, views, mugs_samples(4, weak=WEAK), True)
    exact = dict(rtol=1e-9, atol=1e-13, check_dtype=False)
    for step, (one, two, whole) in enumerate(zip(*ranks, expected)):
        for name, buffer in whole['buffers'].items():
            assert torch.equal(one['buffers'][name], two['buffers'][name])
            torch.testing.assert_close(one['buffers'][name], buffer, **exact)
        if step == BROKEN:
            before = expected[step - 1]['buffers']
            assert all(torch.equal(value, before[name])
                       for name, value in whole['buffers'].items())
            continue
        for name, value in whole['losses'].items():
            if name == 'raw/neighbour_purity':
                continue  # a ratio of counts
            mean = (one['losses'][name] + two['losses'][name]) / 2
            torch.testing.assert_close(mean, value, **exact)
        for name, grad in whole['grads'].items():
            assert torch.equal(one['grads'][name], two['grads'][name])
            torch.testing.assert_close(one['grads'][name], grad, **exact)
