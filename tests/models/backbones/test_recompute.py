"""Activation checkpointing: the same gradients for less memory."""
from __future__ import annotations

import pytest
import torch
from mmengine.runner.activation_checkpointing import (
    turn_on_activation_checkpointing,
)
from toy_ibot import gradients, make_samples, make_views, tiny_ibot

DEPTH = 6
ARCH = dict(embed_dims=16, num_layers=DEPTH, num_heads=2,
            feedforward_channels=64)


def kept_bytes(function, blocks):
    """What is kept for the backward pass, and the result.

    Recomputation holds a block's input without telling autograd, so inputs
    of blocks count as well.
    """
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def keep_input(module, args):
        keep(args[0])

    hooks = [block.register_forward_pre_hook(keep_input) for block in blocks]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
        result = function()
    for hook in hooks:
        hook.remove()
    return sum(kept.values()), result


def step(how, skip, **kwargs):
    """A float64 step: bytes kept by the student's pass, losses, gradients."""
    model = tiny_ibot(backbone=dict(
        arch=ARCH, drop_path_rate=0.3, skip_dropped=skip,
        with_cp=how == 'with_cp'), **kwargs).double()
    if how == 'mmengine':
        turn_on_activation_checkpointing(
            model, [f'backbone.layers.{i}' for i in range(DEPTH)])
    views = make_views(4, dtype=torch.float64)
    student, size = model._student, []

    def watched(*args, **options):
        kept, out = kept_bytes(lambda: student(*args, **options),
                               model.backbone.layers)
        size.append(kept)
        return out

    model._student = watched
    losses, grads = gradients(model, views, make_samples(4))
    return sum(size), losses, grads


@pytest.mark.property
@pytest.mark.filterwarnings('ignore:.*use_reentrant')
@pytest.mark.parametrize('how', ['with_cp', 'mmengine'])
@pytest.mark.parametrize('skip', [True, False])
@pytest.mark.parametrize('last_block_rule', [True, False])
def test_equal_gradients_for_less_memory(how, skip, last_block_rule):
    kwargs = dict(last_block_rule=last_block_rule)
    size, losses, grads = step('plain', skip, **kwargs)
    less, again, regrads = step(how, skip, **kwargs)
    for name, value in losses.items():
        assert torch.equal(value, again[name]), name
    for name, grad in grads.items():
        assert torch.equal(grad, regrads[name]), name
    # of each block only its input is left
    assert less < 0.5 * size
