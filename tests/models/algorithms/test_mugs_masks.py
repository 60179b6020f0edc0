"""Mugs with masks: hidden, dropped, looked at, and what is stored then."""
from __future__ import annotations

import warnings

import pytest
import torch
from toy_ibot import gradients
from toy_mugs import mugs_samples, mugs_views, tiny_mugs

from mimplug.masking import Mask, MaskGenerator

pytestmark = pytest.mark.unit


class FirstOnly(MaskGenerator):
    """Hides a patch of some images in chosen views."""

    def __init__(self, rows):
        self.rows = torch.tensor(rows)

    def __call__(self, context):
        hidden = torch.zeros(context.rows, 1, *context.grid, dtype=torch.bool)
        hidden[self.rows, 0, 1, 2] = True
        return Mask(hidden)


def test_off_is_hiding_nothing():
    plain = tiny_mugs()
    masked = tiny_mugs(mask_generator=dict(type='mimplug.NoMask'))
    masked.load_state_dict(plain.state_dict(), strict=False)
    views, samples = mugs_views(), mugs_samples()
    (one, grads), (two, other) = (
        gradients(model, views, samples) for model in (plain, masked))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value)
    for name, grad in grads.items():
        torch.testing.assert_close(other[name], grad)
    assert two['raw/hidden'] == 0
    assert not other['backbone.mask_token'].any()


def test_only_the_students_global_views():
    """Rows of view 1 are those of inputs[3]."""
    model = tiny_mugs(mask_generator=FirstOnly([3, 5]))
    torch.nn.init.normal_(model.backbone.mask_token)
    seen, run = [], model.backbone.raw_tokens

    def spy(images, **kwargs):
        seen.append((images, kwargs.get('hidden')))
        return run(images, **kwargs)

    model.backbone.raw_tokens = spy
    views = mugs_views(3, 2)
    model.loss(views)
    (large, hidden), (small, none) = seen
    assert torch.equal(large, torch.cat(views[2:4]))
    assert hidden.any(1).nonzero().flatten().tolist() == [3, 5]
    assert torch.equal(small, torch.cat(views[4:]))
    assert none is None


@pytest.mark.parametrize('rows, kept', [
    ([0], [2]), ([3, 4, 5], [0, 2]), ([0, 2, 4], [])])
def test_masked_images_are_not_stored(rows, kept):
    """Where something of the first view is hidden; image 1 is strong."""
    model = tiny_mugs(mask_generator=FirstOnly(rows))
    views = mugs_views(3)
    stored = model.backbone.patch_mean(
        model.backbone.raw_tokens(views[2]).tokens).detach()
    model.loss(views, mugs_samples(weak=[True, False, True]))
    student = model.memories.student
    assert student.pointer.tolist() == [len(kept)]
    torch.testing.assert_close(student.rows[:len(kept)], stored[kept])
    assert model.memories.teacher.pointer.item() == 3


def test_dropped_tokens():
    """They are left out, and the image is not stored."""

    class Drop(MaskGenerator):
        drops = True

        def __call__(self, context):
            dropped = torch.zeros(context.rows, 1, *context.grid,
                                  dtype=torch.bool)
            dropped[:, :, 0] = True
            return Mask(torch.zeros_like(dropped), dropped,
                        num_dropped=4)

    model = tiny_mugs(mask_generator=Drop())
    _, grads = gradients(model, mugs_views())
    assert model.memories.student.pointer.item() == 0
    assert all(grad is not None for grad in grads.values())


@pytest.mark.parametrize('share', [False, True])
def test_attention_is_of_the_students_views(share):
    """One pass more, or none where the views are shared."""
    model = tiny_mugs(
        mask_generator=dict(type='mimplug.AttentionMask', ratio=0.4,
                            apply_prob=1.0),
        share_views=share, local_group=dict(shared_memory=True))
    calls, seen = [], []
    network, make = model.teacher.backbone, model.make_mask

    def counted(run):
        return lambda images, **kwargs: (
            calls.append(images), run(images, **kwargs))[1]

    for name in ('encode', 'raw_tokens'):
        setattr(network, name, counted(getattr(network, name)))

    def look(images, teacher, samples):
        seen.append((images, teacher))
        return make(images, teacher, samples)

    model.make_mask = look
    views = mugs_views(num_globals=2 if share else 4)
    model.loss(views)
    assert len(calls) == (1 if share else 2)
    (images, looked), = seen
    assert torch.equal(images, torch.cat(views[:2] if share
                                         else views[2:4]))
    expected = type(network).encode(network, images, cls_rows=(-1, ))
    torch.testing.assert_close(looked.attention[1],
                               expected.attention[1])
    torch.testing.assert_close(looked.patches, expected.patches)


def test_no_extra_pass_without_need():
    model = tiny_mugs(mask_generator=dict(
        type='mimplug.RandomMask', ratio=0.4, apply_prob=0.5))
    model.teacher.backbone.encode = None  # nobody calls it
    assert 'raw/hidden' in model.loss(mugs_views())


def test_shared_memory():
    """The student finds what the teacher stored."""
    model = tiny_mugs(local_group=dict(shared_memory=True))
    assert model.memories.student is None
    model.loss(mugs_views())
    query = torch.randn(2, 16)
    one, two = (model.memories.search(query, 3, student=student)
                for student in (False, True))
    assert torch.equal(one.slots, two.slots)


def test_a_memory_that_would_never_fill():
    generator = dict(type='mimplug.RandomMask', ratio=0.4)
    with pytest.warns(UserWarning, match='shared_memory=True'):
        tiny_mugs(mask_generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        tiny_mugs(mask_generator=dict(generator, apply_prob=0.5))
        tiny_mugs(mask_generator=generator,
                  local_group=dict(shared_memory=True))


def test_preview():
    model = tiny_mugs(mask_generator=FirstOnly([1]))
    views = mugs_views(2, 1)
    shown = model.preview_masks(views, mugs_samples(2))
    assert torch.equal(shown['images'], torch.cat(views[2:4]))
    assert shown['hidden'].flatten(1).any(1).tolist() == [
        False, True, False, False]
    assert shown['attention'].shape == (4, 4, 4)
    assert torch.equal(model.preview_masks(views[:1])['images'], views[0])
