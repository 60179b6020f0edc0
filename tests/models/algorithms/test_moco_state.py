"""What moves when in MoCo: key encoder, queue, statistics."""
from __future__ import annotations

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from toy_siamese import (
    MIXES,
    RANDOM,
    samples,
    tiny_siamese,
    total,
    two_views,
    view_mask,
)

from mimplug.engine import TwoGroupConstructor
from mimplug.models.shuffle import encode_shuffled
from mimplug.models.split_norm import SplitBatchNorm, split_batch_norms
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit


def state_of(module):
    """A copy of a state."""
    return {name: value.clone()
            for name, value in module.state_dict().items()}


def same(one, two):
    """Names of tensors that differ."""
    return [name for name in one if not torch.equal(one[name], two[name])]


def test_key_encoder_moves_before_the_keys_and_keeps_its_statistics():
    model = tiny_siamese('MoCo', momentum=0.75)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(0.1)
    before, student = state_of(model.teacher), state_of(model.backbone)
    seen = []
    model.teacher.backbone.register_forward_pre_hook(
        lambda module, inputs: seen.append(state_of(module)))
    model.loss(two_views(), samples())
    # that of the student has seen the query view meanwhile
    for name, value in seen[0].items():
        old = before[f'backbone.{name}']
        if 'running' in name or 'num_batches' in name:
            assert torch.equal(value, old), name
        else:
            torch.testing.assert_close(
                value, 0.75 * old + 0.25 * student[name])


def test_once_an_optimiser_step_on_its_first_micro_batch():
    model = tiny_siamese('MoCo', momentum=0.5, queue=20)
    moved = []
    update = model.teacher.update
    model.teacher.update = lambda *args: (
        moved.append(model.progress.step), update(*args))[1]
    for micro in range(4):
        model.set_progress(Progress(step=micro // 2, max_steps=2))
        model.loss(two_views(seed=micro), samples(first=4 * micro))
        # keys enter on every micro-batch
        assert model.queue.pointer.item() == 4 * (micro + 1) % 20
    assert moved == [0, 1]


def test_accumulated_gradients_are_the_sum():
    """The second micro-batch meets the first one's keys, as two steps do."""
    model = tiny_siamese('MoCo', momentum=0.5)
    other = copy.deepcopy(model)
    for micro in range(2):
        total(model.loss(two_views(seed=micro), samples())).backward()
    summed = model.backbone.conv1.weight.grad
    parts = []
    for micro in range(2):
        other.zero_grad()
        total(other.loss(two_views(seed=micro), samples())).backward()
        parts.append(other.backbone.conv1.weight.grad)
    torch.testing.assert_close(summed, parts[0] + parts[1])


def test_a_loss_that_is_not_finite_leaves_the_queue():
    model = tiny_siamese('MoCo', mixes=MIXES)
    model.loss(two_views(), samples())
    before = state_of(model.queue)
    views = two_views(seed=2)
    views[0][0, 0, 0, 0] = float('nan')
    assert not total(model.loss(views, samples())).isfinite()
    assert same(before, state_of(model.queue)) == []
    model.loss(two_views(seed=3), samples())
    assert same(before, state_of(model.queue)) == [
        'rows', 'pointer', 'written']


def test_after_a_skipped_step_everything_is_finite():
    model = tiny_siamese('MoCo')
    wrapper = TwoGroupConstructor(dict(
        optimizer=dict(type='SGD', lr=0.1, momentum=0.9)))(model)
    for step, bad in enumerate((False, True, False)):
        model.set_progress(Progress(step, 3))
        losses = model.loss(two_views(seed=step), samples())
        loss = total(losses) * (float('inf') if bad else 1)
        before = state_of(model.backbone)
        wrapper.update_params(loss)
        names = [name for name, _ in model.backbone.named_parameters()]
        changed = set(same(before, state_of(model.backbone))) & set(names)
        assert bool(changed) != bad
    for name, value in model.state_dict().items():
        assert value.isfinite().all(), name


def test_in_evaluation_mode_nothing_moves():
    model = tiny_siamese('MoCo').eval()
    before = state_of(model)
    model.loss(two_views(), samples())
    assert same(before, state_of(model)) == []


def test_negatives_are_those_before_the_step():
    model = tiny_siamese('MoCo', queue=8)
    queue = model.queue.rows.clone()
    views = two_views()
    with torch.no_grad():
        losses = model.loss(views, samples())
    assert not torch.equal(model.queue.rows[:4], queue[:4])
    assert torch.equal(model.queue.rows[4:], queue[4:])
    # again with the weights and statistics of a step in training mode
    again = tiny_siamese('MoCo', queue=8)
    with torch.no_grad():
        q, k = (F.normalize(encode(view), dim=1) for encode, view in zip(
            (again.encode, again.encode_key), views))
        logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1)
        expected = F.cross_entropy(
            logits / 0.2, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(losses['loss_clean'], expected)


def colours(batch, seed):
    """Two noisy views of some of 64 coloured images, easy to tell apart."""
    pool, generator = (torch.Generator().manual_seed(number)
                       for number in (5, seed))
    images = F.interpolate(1.5 * torch.randn(64, 3, 2, 2, generator=pool),
                           size=16, mode='bilinear')
    images = images[torch.randperm(64, generator=generator)[:batch]]
    return [images + 0.3 * torch.randn(images.shape, generator=generator)
            for _ in range(2)]


def trained(frozen, size=32, batch=16, steps=36):
    """Loss of the last steps, and the model; perhaps its queue is dead."""
    model = tiny_siamese('MoCo', queue=size, momentum=0.9,
                         backbone=dict(strides=(2, 2, 2, 1))).train()
    if frozen:
        model.queue.enqueue = lambda *args, **kwargs: None
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.03,
        momentum=0.9)
    losses = []
    for step in range(steps):
        model.set_progress(Progress(step, steps))
        loss = total(model.loss(
            colours(batch, step), samples(batch, step * batch)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses[-10:]) / 10, model


def test_the_loss_cannot_stay_at_the_logarithm_of_the_queue():
    """Neither there, nor where it goes without a queue that works.

    Features that have become one vector, keys included, have the loss
    ln(K + 1) exactly, whatever is learned. Where keys never enter, one
    vector that is far from all the random rows is enough, and the loss falls
    to a fraction of what telling images apart takes.
    """
    size, steps, batch = 32, 36, 16
    first = tiny_siamese('MoCo', queue=size).queue.rows
    chance = math.log(size + 1)
    working, model = trained(False)
    dead, _ = trained(True)
    assert working < 0.75 * chance
    assert working > dead + 0.2 * chance
    assert not (model.queue.rows == first).any()
    assert model.queue.written.all()
    assert model.queue.pointer.item() == steps * batch % size
    torch.testing.assert_close(
        model.queue.rows.norm(dim=1), torch.ones(size))


def test_split_batch_norm_is_several_batch_norms():
    torch.manual_seed(0)
    images = torch.randn(6, 4, 3, 3)
    whole = torch.nn.BatchNorm2d(4)
    twins = [copy.deepcopy(whole) for _ in range(2)]
    split_batch_norms(parent := torch.nn.Sequential(whole), 2)
    assert isinstance(parent[0], SplitBatchNorm)
    output = parent(images)
    for part, twin in enumerate(twins):
        torch.testing.assert_close(
            output[part::2], twin(images[part::2]))
    for name in ('running_mean', 'running_var'):
        torch.testing.assert_close(
            getattr(whole, name),
            (getattr(twins[0], name) + getattr(twins[1], name)) / 2)
    assert whole.num_batches_tracked == 1
    parent.eval()
    torch.testing.assert_close(parent(images), torch.nn.functional.batch_norm(
        images, whole.running_mean, whole.running_var))
    with pytest.raises(ValueError, match='5 images'):
        parent.train()(images[:5])


def test_keys_are_shuffled_between_the_parts():
    model = tiny_siamese('MoCo', split_bn=2)
    views, encoded = two_views(8), []
    model.teacher.backbone.register_forward_pre_hook(
        lambda module, inputs: encoded.append(inputs[0]))
    before = copy.deepcopy(model)
    model.loss(views, samples(8))
    order = [int((views[1] - image).flatten(1).abs().sum(1).argmin())
             for image in encoded[0]]
    assert sorted(order) == list(range(8))
    assert order != sorted(order)
    # what comes back is in the order that was given
    keys = encode_shuffled(before.encode_key, views[1], torch.tensor(order))
    torch.testing.assert_close(
        model.queue.rows[:8], F.normalize(keys, dim=1))


@pytest.mark.parametrize('name', ['MoCo', 'SimCLR'])
def test_a_mask_of_nothing_changes_nothing(name):
    values = []
    for masks in ([], [view_mask(dict(type='mimplug.NoMask'))],
                  [view_mask(RANDOM)]):
        model = tiny_siamese(name, view_masks=masks)
        values.append(total(model.loss(two_views(), samples())))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
