"""MMPretrain's siamese algorithms train on masked views, by config only."""
from __future__ import annotations

import itertools

import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from toy_stock_siamese import (
    BATCH,
    FILLS,
    QUEUE,
    STOCK,
    build,
    make_batch,
    masked,
)

from mimplug.schedules import Progress

FAST = [*((name, 'noise') for name in STOCK),
        *(('simclr', fill) for fill in FILLS if fill != 'noise')]
REST = [pair for pair in itertools.product(STOCK, FILLS)
        if pair not in FAST]


@pytest.fixture(autouse=True)
def _length_of_the_run():
    """What MMPretrain's moving averages ask a runner for."""
    MessageHub.get_instance('stock siamese').update_info('max_iters', 2)


def two_steps(name: str, preprocessor: dict, steps=2):
    """Trains; returns model, losses, what the backbone saw, gradients."""
    model = build(name, preprocessor)
    seen, grads = [], {}
    model.backbone.register_forward_pre_hook(
        lambda part, inputs: seen.append(inputs[0].detach().clone()))
    for key, value in model.backbone.named_parameters():
        value.register_post_accumulate_grad_hook(
            lambda value, key=key: grads.update({key: value.grad.clone()}))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    wrapper = OptimWrapper(optimizer)
    model.train()
    losses = []
    for step in range(steps):
        model.data_preprocessor.set_progress(
            Progress(step=step, max_steps=steps))
        logs = model.train_step(make_batch(seed=step), wrapper)
        losses.append(logs['loss'].item())
    return model, losses, seen, grads


def check(name: str, fill: str) -> None:
    """Two steps: finite, gradients, queue, masks of their own."""
    torch.manual_seed(0)
    start = build(name, masked(fill)).backbone.state_dict()
    model, losses, seen, grads = two_steps(name, masked(fill))
    assert all(torch.isfinite(torch.tensor(losses))), losses
    assert set(grads) == {key for key, _ in model.backbone.named_parameters()}
    assert all(torch.isfinite(grad).all() for grad in grads.values())
    assert grads['conv1.weight'].abs().sum() > 0
    assert not torch.equal(start['conv1.weight'], model.backbone.conv1.weight)
    if name == 'moco':
        assert int(model.queue_ptr) == 2 * BATCH % QUEUE
    # SimCLR stacks the views of an image
    first = seen[0][::2] if name == 'simclr' else seen[0]
    clean = build(name, dict(type='mimplug.MultiViewDataPreprocessor'))
    view = clean.data_preprocessor(make_batch(seed=0))['inputs'][0]
    changed = (first != view).any(1)
    assert changed.flatten(1).any(1).all()
    if fill != 'high_pass':  # which filters the rest of the view
        assert len({tuple(one.flatten().tolist()) for one in changed}) > 1


@pytest.mark.property
@pytest.mark.parametrize('name, fill', FAST)
def test_two_steps(name, fill):
    check(name, fill)


@pytest.mark.full
@pytest.mark.property
@pytest.mark.parametrize('name, fill', REST)
def test_two_steps_of_every_other_pair(name, fill):
    check(name, fill)


@pytest.mark.property
def test_masks_with_saliency_and_filter_train_too():
    generator = dict(type='SaliencyMask', ratio=(0.1, 0.3))
    preprocessor = masked(
        'noise', mask_generator=generator, image_size=32,
        saliency=dict(type='mimplug.SpectralResidual', size=16),
        input_filter=dict(type='mimplug.HighPass', kernel_size=3, sigma=0.7))
    _, losses, seen, _ = two_steps('byol', preprocessor)
    assert all(torch.isfinite(torch.tensor(losses)))
    # the high-pass domain: hardly any mean left
    assert seen[1].mean().abs() < 0.05


@pytest.mark.property
@pytest.mark.parametrize('name', ['simsiam', 'barlowtwins'])
def test_ratio_zero_changes_nothing(name):
    plain = dict(type='mimplug.MultiViewDataPreprocessor')
    model = build(name, plain)
    losses = []
    for preprocessor in (plain, masked(mask_generator=dict(type='NoMask'))):
        model = build(name, preprocessor).train()
        data = model.data_preprocessor(make_batch(), True)
        losses.append(model(**data, mode='loss')['loss'])
    assert torch.equal(*losses)
