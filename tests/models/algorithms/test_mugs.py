"""Mugs: terms, views, masks, what is stored, what is refused."""
from __future__ import annotations

import pytest
import torch
from toy_ibot import gradients, student_parameters, total
from toy_mugs import mugs_samples, mugs_views, tiny_mugs

from mimplug.errors import ConfigError
from mimplug.models.losses import ClusteringLoss, InfoNCE, multi_view_weights
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit

TERMS = ('instance', 'local_group', 'group')


def test_the_step_by_hand():
    """The paper's figure, written down with public parts."""
    model = tiny_mugs().double()
    views = mugs_views(3, num_locals=2, dtype=torch.float64)
    teacher, student, memories = model.teacher, model.backbone, model.memories
    large, small = torch.cat(views[2:4]), torch.cat(views[4:])
    seen = teacher.backbone.raw_tokens(torch.cat(views[:2])).tokens
    mine = [student.raw_tokens(x).tokens for x in (large, small)]
    weights = torch.tensor(multi_view_weights(2, 4)).double()

    def group(network, tokens, memory):
        query = tokens.mean(1)
        index, _ = memory.search(query, 3)
        return network.relate(query, memory.rows[index])

    features = dict(
        instance=(torch.cat([student.ln1(x)[:, 0] for x in mine]),
                  teacher.backbone.ln1(seen)[:, 0]),
        local_group=(
            torch.cat([group(student, x, memories.student) for x in mine]),
            group(teacher.backbone, seen, memories.teacher)))
    expected = {}
    for name, (own, theirs) in features.items():
        query = getattr(model, f'{name}_head')(own).unflatten(0, (4, 3))
        keys = getattr(teacher, f'{name}_head').project(theirs)
        expected[name] = InfoNCE(0.2)(
            query, keys.unflatten(0, (2, 3)).transpose(0, 1),
            memories.queues[name].snapshot(), weights=weights.unsqueeze(1))
    logits = model.group_head(features['instance'][0])
    target = teacher.group_head(features['instance'][1])
    expected['group'] = ClusteringLoss(12, 0).double().cls_loss(
        logits.unflatten(0, (4, 3)), target.unflatten(0, (2, 3)), 0.04,
        weights)
    stored = student.ln1(mine[0][:3])[:, 1:].mean(1)
    kept = teacher.backbone.ln1(seen[:3])[:, 1:].mean(1)
    losses = model.loss(views, mugs_samples(weak=[True, False, True]))
    for name, value in expected.items():
        torch.testing.assert_close(losses[f'raw/{name}'], value.detach())
        torch.testing.assert_close(losses[f'loss_{name}'], value / 3)
    torch.testing.assert_close(memories.student.rows[:2], stored[[0, 2]])
    torch.testing.assert_close(memories.teacher.rows[:3], kept)
    assert memories.student.pointer.item() == 2
    assert memories.queues['instance'].pointer.item() == 6


def test_what_a_step_returns():
    model = tiny_mugs()
    losses = model.loss(mugs_views(), mugs_samples())
    assert {name for name in losses if 'loss' in name} == {
        f'loss_{name}' for name in TERMS}
    assert set(losses) - {f'loss_{name}' for name in TERMS} == {
        *(f'raw/{name}' for name in TERMS), 'raw/agreement',
        'raw/teacher_memory', 'raw/student_memory', 'raw/neighbour_cosine',
        'raw/neighbour_purity'}
    assert 'raw/neighbour_purity' not in model.loss(
        mugs_views(), mugs_samples(labels=False))
    assert not any(value.requires_grad for name, value in losses.items()
                   if name.startswith('raw/'))


def test_weights_weigh():
    """Each term counts by its own weight; released: only the sum does."""
    weights = dict(instance=1, local_group=2, group=5)
    options = {name: dict(weight=w) for name, w in weights.items()}
    plain, views = tiny_mugs().loss(mugs_views()), mugs_views()
    weighted = tiny_mugs(**options).loss(views)
    released = tiny_mugs(**options, legacy_scale=True).loss(views)
    for name, weight in weights.items():
        raw = plain[f'raw/{name}']
        torch.testing.assert_close(weighted[f'raw/{name}'], raw)
        for losses, factor in ((plain, 1 / 3), (weighted, weight / 8),
                               (released, 1 / 8)):
            torch.testing.assert_close(
                losses[f'loss_{name}'].detach(), raw * factor)


@pytest.mark.parametrize('off', TERMS)
def test_a_term_of_weight_zero_is_not_there(off):
    options = {off: dict(weight=0)}
    if off == 'local_group':
        options['backbone'] = dict(num_relation_blocks=0)
    whole, model, views = tiny_mugs(), tiny_mugs(**options), mugs_views()
    model.load_state_dict(whole.state_dict(), strict=False)
    losses, grads = gradients(model, views, mugs_samples())
    left = [name for name in TERMS if name != off]
    assert [name for name in losses if 'loss' in name] == [
        f'loss_{name}' for name in left]
    assert all(grad is not None for grad in grads.values())
    assert not hasattr(model, f'{off}_head')
    model.step_end(0.5)
    expected = whole.loss(views)
    for name in left:
        torch.testing.assert_close(losses[f'raw/{name}'],
                                   expected[f'raw/{name}'])


def test_every_parameter_gets_a_gradient():
    for mask in (None, dict(type='mimplug.RandomMask', ratio=0.3,
                            apply_prob=0.5)):
        model = tiny_mugs(mask_generator=mask,
                          backbone=dict(drop_path_rate=0.1))
        _, grads = gradients(model, mugs_views(), mugs_samples())
        assert not [name for name, grad in grads.items() if grad is None]
        assert ('backbone.mask_token' in grads) == (mask is not None)


@pytest.mark.parametrize('batch', [1, 3])
def test_no_local_crops(batch):
    """The loss is the mean of the two terms of the large crops."""
    model, views = tiny_mugs(), mugs_views(batch, num_locals=0)
    queue = model.memories.queues['instance'].snapshot()
    losses, _ = gradients(model, views)
    with torch.no_grad():
        query, keys = (
            head(network.encode(torch.cat(part)).cls).unflatten(0, (2, -1))
            for head, network, part in (
                (model.instance_head, model.backbone, views[2:]),
                (model.teacher.instance_head, model.teacher.backbone,
                 views[:2])))
        pairs = [InfoNCE(0.2)(query[p], keys[1 - p], queue) for p in (0, 1)]
    torch.testing.assert_close(losses['raw/instance'], sum(pairs) / 2)


def test_local_crops_of_several_sizes_and_odd_images():
    model = tiny_mugs()
    views = mugs_views(2, 1) + [torch.randn(2, 3, 12, 8)] * 2
    losses = model.loss(views)
    assert all(torch.isfinite(value) for value in losses.values())
    wide = [torch.randn(1, 3, 12, 20)] * 4
    assert torch.isfinite(total(model.loss(wide)))


def test_memories_smaller_than_the_batch():
    """Of more rows than fit the last stay, in order."""
    model = tiny_mugs(local_group=dict(memory=4, neighbours=4, queue=3),
                      instance=dict(queue=5))
    views = mugs_views(6)
    seen = model.teacher.backbone.raw_tokens(views[0]).tokens
    stored = model.teacher.backbone.patch_mean(seen)
    losses = model.loss(views)
    assert torch.isfinite(total(losses))
    rows = model.memories.teacher
    torch.testing.assert_close(rows.rows.roll(-2, 0), stored[2:].detach())
    assert rows.pointer.tolist() == [2]
    assert torch.isfinite(total(model.loss(views)))


@pytest.mark.parametrize('batch', [1, 3, 7])
def test_batches_that_do_not_divide_the_memories(batch):
    model = tiny_mugs(instance=dict(queue=11), local_group=dict(memory=5))
    for _ in range(3):
        model.loss(mugs_views(batch, 1))
    assert model.memories.queues['instance'].pointer.item() == batch * 6 % 11
    assert model.memories.teacher.pointer.item() == batch * 3 % 5
    assert model.memories.teacher.num_written.item() == min(5, 3 * batch)


def test_what_the_log_says_of_memories():
    model = tiny_mugs(local_group=dict(memory=12, neighbours=12))
    views = mugs_views(3)
    first = model.loss(views, mugs_samples(weak=[True, False, False]))
    assert first['raw/teacher_memory'] == first['raw/student_memory'] == 0
    second = model.loss(views, mugs_samples(weak=[False] * 3))
    torch.testing.assert_close(second['raw/teacher_memory'],
                               torch.tensor(3 / 12))
    torch.testing.assert_close(second['raw/student_memory'],
                               torch.tensor(1 / 12))
    # of the labels 0, 1, 0 there are 2, 1, 2 among 3
    torch.testing.assert_close(second['raw/neighbour_purity'],
                               torch.tensor(5 / 9))


def test_a_loss_that_is_not_finite_leaves_the_memories_alone():
    model, views = tiny_mugs(), mugs_views()
    before = {name: value.clone()
              for name, value in model.memories.state_dict().items()}
    broken = [view.clone() for view in views]
    broken[2][1, 0, 0, 0] = torch.inf
    assert not torch.isfinite(total(model.loss(broken)))
    for name, value in model.memories.state_dict().items():
        assert torch.equal(value, before[name]), name
    teacher = {name: value.clone()
               for name, value in model.teacher.state_dict().items()}
    with torch.no_grad():
        model.backbone.pos_embed.add_(1)
    model.step_end(0.5, finite=torch.tensor(False))
    assert not model.loss_module.cls_center.any()
    assert all(torch.equal(value, teacher[name]) for name, value
               in model.teacher.state_dict().items())
    model.loss(views)
    model.step_end(0.5, finite=torch.tensor(True))
    assert model.memories.teacher.num_written == 3
    assert model.loss_module.cls_center.any()
    assert not torch.equal(model.teacher.backbone.pos_embed,
                           teacher['backbone.pos_embed'])


def test_shared_views():
    """Teacher and student see the same two views."""
    views = mugs_views(num_globals=2)
    one = tiny_mugs(share_views=True).loss(views)
    two = tiny_mugs().loss(views[:2] + views)
    for name in TERMS:
        torch.testing.assert_close(one[f'loss_{name}'], two[f'loss_{name}'])


@pytest.mark.parametrize('options, words', [
    (dict(local_group=dict(neighbours=21)), r'neighbours=21.*\[1, 20\]'),
    (dict(local_group=dict(memory=0)), 'memory=0'),
    (dict(instance=dict(queue=0)), 'queue=0'),
    (dict(instance=dict(weight=-1)), 'weight'),
    (dict(instance=dict(temperature=0)), 'temperature=0'),
    (dict(instance=dict(memory=3)), 'instance key'),
    (dict(group=dict(queues=3)), 'group key'),
    (dict(group=dict(head=dict(shared=False))), 'shared'),
    (dict(instance=dict(weight=0), local_group=dict(weight=0),
          group=dict(weight=0), backbone=dict(num_relation_blocks=0)),
     'one must be > 0'),
    (dict(local_group=dict(weight=0)), 'num_relation_blocks=1'),
    (dict(backbone=dict(num_relation_blocks=0)), 'num_relation_blocks=0'),
    (dict(backbone=dict(type='mimplug.MaskedViT')), 'LocalGroupViT'),
    (dict(backbone=dict(with_mask_token=True)), 'mask_generator'),
    (dict(mask_generator=dict(type='mimplug.RandomMask', ratio=0.3),
          backbone=dict(with_mask_token=False)), 'with_mask_token'),
])
def test_refused_when_built(options, words):
    with pytest.raises(ConfigError, match=words):
        tiny_mugs(**options)


@pytest.mark.parametrize('options, views', [
    ({}, mugs_views(num_globals=2, num_locals=0)),
    ({}, mugs_views(num_globals=2, num_locals=4)),
    (dict(share_views=True), mugs_views(num_globals=1, num_locals=3))])
def test_refused_views(options, views):
    with pytest.raises(ValueError, match='global ones'):
        tiny_mugs(**options).loss(views)


def test_flags_of_some_samples_only():
    samples = mugs_samples(weak=[True] * 3)
    samples[1] = mugs_samples(1)[0]
    with pytest.raises(ValueError, match='2 of 3'):
        tiny_mugs().loss(mugs_views(), samples)


def test_draws_do_not_depend_on_the_neighbours_in_the_batch():
    """Stochastic depth of an image: by its key, not by its place."""
    model = tiny_mugs(backbone=dict(drop_path_rate=0.5), draws_seed=3)
    views, samples = mugs_views(4), mugs_samples(4)
    found = []
    for order in ([0, 1, 2, 3], [2, 0]):
        part = [view[order] for view in views]
        drops = model.drop_path_draws(
            part[2:], [samples[i] for i in order], [2 * len(order)] * 2)
        found.append(drops[0].reshape(2, len(order), -1))
    assert (found[0][:, [2, 0]] == found[1]).all()


def test_the_teacher_starts_as_the_student_and_follows():
    model = tiny_mugs()
    state = model.state_dict()
    mine = [name for name in state if name.startswith('teacher.')]
    assert not any('predictor' in name for name in mine)
    for name in mine:
        assert torch.equal(state[name], state[name.removeprefix('teacher.')])
    with torch.no_grad():
        for parameter in student_parameters(model).values():
            parameter.add_(1)
    model.set_progress(Progress(step=1, max_steps=10))
    model.step_end(0.75)
    for name, value in model.teacher.named_parameters():
        torch.testing.assert_close(value, model.get_parameter(name) - 0.75)
