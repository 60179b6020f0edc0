"""The same training on any number of processes, and what it computed.

``train`` runs where the test runs; :func:`on_two_ranks` runs a function in
two spawned gloo processes.
"""
from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as torch_dist
import torch.multiprocessing
from mmengine.model import MMDistributedDataParallel
from toy_ibot import make_samples, make_views, student_parameters, tiny_ibot

from mimplug.engine import TwoGroupConstructor
from mimplug.engine.distributed import shard_model, whole
from mimplug.schedules import Progress

# images of a step over all processes
GLOBAL_BATCH = 4
STEPS = 3
# functions of torch.distributed that talk to other processes
COLLECTIVES = (
    'all_reduce', 'all_gather', 'all_gather_into_tensor', 'all_gather_object',
    'all_to_all', 'all_to_all_single', 'barrier', 'broadcast',
    'broadcast_object_list', 'gather', 'gather_object', 'reduce',
    'reduce_scatter', 'reduce_scatter_tensor', 'scatter', 'send', 'recv',
    'isend', 'irecv', 'batch_isend_irecv', 'monitored_barrier')


def count_collectives() -> list[str]:
    """Names of the collectives called from now on, those of DDP's C++ not."""
    seen: list[str] = []

    def counted(name: str, function: Callable) -> Callable:
        def call(*args, **kwargs):
            seen.append(name)
            return function(*args, **kwargs)
        return call

    for name in COLLECTIVES:
        setattr(torch_dist, name, counted(name, getattr(torch_dist, name)))
    return seen


class ArraysToDevice(torch.nn.Module):
    """Data preprocessor for batches that are ready."""

    def forward(self, data, training=False):
        return data


def share_of(rank: int, world: int, step: int) -> dict:
    """A rank's rows of the common batch, interleaved as by KeyedSampler."""
    views = make_views(batch=GLOBAL_BATCH, seed=10 + step,
                       dtype=torch.float64)
    samples = make_samples(batch=GLOBAL_BATCH, first=GLOBAL_BATCH * step)
    return dict(inputs=[view[rank::world] for view in views],
                data_samples=samples[rank::world])


def train(settings: dict, sharded: bool = False) -> dict[str, Any]:
    """Some steps of iBOT in float64, through DDP where there is a group.

    Args:
        settings (dict): Arguments of :func:`toy_ibot.tiny_ibot`.
        sharded (bool): Fully sharded instead of DDP.

    Returns:
        dict: Step by step ``losses``, ``masks`` by index of the image,
        ``gradients`` as they reach the optimiser wrapper and the names of
        ``collectives``; at the end the states of ``model`` and ``optimizer``.
    """
    rank, world = 0, 1
    settings = dict(settings, backbone=dict(
        settings.get('backbone', {}), drop_path_rate=0.1))
    model = tiny_ibot(draws_seed=3, **settings).double().train()
    model.data_preprocessor = ArraysToDevice()
    wrapped, seen = model, []
    if torch_dist.is_initialized():
        rank, world = torch_dist.get_rank(), torch_dist.get_world_size()
        wrapped = shard_model(model) if sharded else (
            MMDistributedDataParallel(model, broadcast_buffers=False))
        seen = count_collectives()
    wrapper = TwoGroupConstructor(dict(
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=0.04, fused=True),
        clip_grad=dict(max_norm=0.05)))(wrapped)
    record: dict[str, Any] = dict(
        losses=[], masks=[], gradients=[], collectives=[])
    _watch(model, wrapper, record)
    for step in range(STEPS):
        before = len(seen)
        model.set_progress(Progress(step, 10, step // 2, 5))
        logged = wrapped.train_step(share_of(rank, world, step), wrapper)
        model.step_end(0.9, finite=wrapper.finite)
        record['losses'].append({key: value.detach()
                                 for key, value in logged.items()})
        record['collectives'].append(seen[before:])
    record['model'] = whole(model.state_dict())
    record['optimizer'] = whole(wrapper.state_dict())
    return record


def _watch(model, wrapper, record) -> None:
    """Keeps the masks that are made and the gradients that are stepped."""
    make_mask, step = model.make_mask, wrapper.step

    def watched_mask(images, teacher, data_samples, *args):
        mask = make_mask(images, teacher, data_samples, *args)
        rows = mask.tokens.unflatten(0, (-1, len(data_samples)))
        record['masks'].append({
            sample.sample_key[1]: rows[:, i].clone()
            for i, sample in enumerate(data_samples)})
        return mask

    def watched_step(**kwargs):
        record['gradients'].append({
            name: whole(parameter.grad).clone() for name, parameter
            in student_parameters(model).items()})
        step(**kwargs)

    model.make_mask, wrapper.step = watched_mask, watched_step


def on_two_ranks(function: Callable, argument: Any, folder) -> list[Any]:
    """What a function of one argument returns on each of two processes."""
    torch.multiprocessing.spawn(
        _one_rank, (function, argument, str(folder)), nprocs=2)
    return [torch.load(folder / f'{rank}.pt', weights_only=False)
            for rank in range(2)]


def _one_rank(rank: int, function: Callable, argument: Any,
              folder: str) -> None:
    torch.set_num_threads(1)
    torch_dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2)
    torch.save(function(argument), f'{folder}/{rank}.pt')
    gc.collect()  # or a wrapped model keeps the threads of the group
    torch_dist.destroy_process_group()
