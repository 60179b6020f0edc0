"""iBOT with masks that drop tokens or hide what is hard."""
from __future__ import annotations

import pytest
import torch
from toy_ibot import gradients, make_samples, make_views, tiny_ibot, tiny_vit

from mimplug.errors import ConfigError
from mimplug.masking import (
    AMTMask,
    HardPatchMask,
    Mask,
    MaskGenerator,
    RolloutMask,
)
from mimplug.models.algorithms.masked import check_generator
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit
HARD = dict(type='mimplug.HardPatchMask', ratio=0.5, max_share=1.0)


class Watched(RolloutMask):
    """Remembers the shapes of the attention that it got."""

    def __call__(self, context):
        self.shapes = {layer: tuple(value.shape[1:])
                       for layer, value in context.attention.items()}
        return super().__call__(context)


def test_rollout_gets_matrices_averaged_over_the_heads():
    """A sixth of the memory, for ViT-S."""
    generator = Watched()
    model = tiny_ibot(mask_generator=generator)
    model.loss(make_views(), make_samples())
    expected = {0: (1, 17, 17), 1: (2, 17)}
    assert generator.shapes == expected
    model.preview_masks(make_views(), make_samples())
    assert generator.shapes == expected


def test_previews_show_what_is_dropped():
    mask = given_mask()
    model = tiny_ibot(mask_generator=Given(mask))
    views = make_views(num_locals=0)
    shown = model.preview_masks(views, make_samples())
    assert torch.equal(shown['dropped'], mask.dropped[:, 0])
    assert not (shown['hidden'] & shown['dropped']).any()
    assert tiny_ibot().preview_masks(views)['dropped'] is None


class Given(MaskGenerator):
    """A mask that was made before."""

    drops = True

    def __init__(self, mask):
        self.mask = mask

    def __call__(self, context):
        return self.mask


def given_mask(rows=6, drop=True):
    """Of 16 patches 3 hidden and 5 others dropped, or seen."""
    generator = torch.Generator().manual_seed(3)
    order = torch.rand(rows, 16, generator=generator).argsort(1)
    states = torch.zeros(2, rows, 16, dtype=torch.bool)
    states[0].scatter_(1, order[:, :3], True)
    states[1].scatter_(1, order[:, 3:8], True)
    hidden, dropped = states.reshape(2, rows, 1, 4, 4)
    if not drop:
        return Mask(hidden, capacity=3 * rows)
    return Mask(hidden, dropped, capacity=3 * rows, num_dropped=5)


def changed(views, where):
    """The global views with other pixels in some patches (M, 1, 4, 4)."""
    pixels = where.repeat_interleave(4, 2).repeat_interleave(4, 3)
    images = torch.cat(views[:2])
    images = torch.where(pixels, -images, images)
    return [*images.chunk(2), *views[2:]]


@pytest.mark.parametrize('last_block_rule', [True, False])
def test_the_student_never_sees_dropped_patches(last_block_rule):
    """What they hold moves the teacher's targets, not the student."""
    mask = given_mask()
    model = tiny_ibot(mask_generator=Given(mask), seed=1,
                      last_block_rule=last_block_rule).eval()
    seen = []
    keep = model._student
    model._student = lambda *args, **kwargs: seen.append(
        keep(*args, **kwargs)) or seen[-1]
    views = make_views()
    with torch.no_grad():
        model.loss(views, make_samples())
        model.loss(changed(views, mask.dropped), make_samples())
        model.loss(changed(views, ~(mask.dropped | mask.hidden)),
                   make_samples())
    passes = len(seen) // 3
    first, dropped, visible = (
        seen[number * passes] for number in range(3))
    for before, after in zip(first, dropped):
        torch.testing.assert_close(before, after)
    assert not torch.allclose(first[0], visible[0])


@pytest.mark.parametrize('last_block_rule', [True, False])
def test_requested_patches_are_the_hidden_ones(last_block_rule):
    """Against the whole output of the short rows, token by token."""
    mask = given_mask()
    model = tiny_ibot(mask_generator=Given(mask), seed=1,
                      last_block_rule=last_block_rule).eval()
    images = torch.cat(make_views()[:2])
    index, _ = mask.hidden_rows()
    with torch.no_grad():
        cls, patches = model._student(
            images, None, hidden=mask.tokens,
            patches=mask.kept_index(index), keep_ids=mask.keep_ids())
        whole = model.backbone.encode(
            images, hidden=mask.tokens, keep_ids=mask.keep_ids())
    assert whole.patches.shape[1] == 11
    spread = torch.zeros(6, 16, 16).scatter(
        1, mask.keep_ids()[..., None].expand(-1, -1, 16), whole.patches)
    torch.testing.assert_close(patches, spread.flatten(0, 1)[index])
    torch.testing.assert_close(cls, whole.cls)


def test_dropping_changes_the_loss_and_trains():
    losses = {}
    for drop in (True, False):
        mask = given_mask(drop=drop)
        generator = Given(mask)
        generator.drops = drop
        model = tiny_ibot(mask_generator=generator, seed=1)
        found, grads = gradients(model, make_views(), make_samples())
        assert grads['backbone.mask_token'].abs().max() > 0
        losses[drop] = found['loss_patch'].item()
    assert losses[True] != losses[False]


def test_only_students_that_leave_tokens_out_take_such_masks():
    with pytest.raises(ConfigError, match='AMTMask drops tokens'):
        check_generator(AMTMask(), tiny_vit())
    check_generator(AMTMask(), tiny_vit(), drops=True)


def hard_model(**kwargs):
    return tiny_ibot(mask_generator=HARD, patch_difficulty=dict(
        hidden_channels=8, **kwargs))


def test_hard_patches_train_their_head():
    model = hard_model()
    losses, grads = gradients(model, make_views(), make_samples())
    assert losses['loss_difficulty'] > 0
    for name, grad in grads.items():
        if name.startswith('patch_difficulty'):
            assert grad.abs().max() > 0, name


def test_the_difficulty_loss_trains_nothing_else():
    """Its weight leaves every other gradient alone."""
    one, many = (gradients(hard_model(weight=weight), make_views(),
                           make_samples())[1] for weight in (0.0, 50.0))
    for name, grad in one.items():
        if name.startswith('patch_difficulty'):
            assert not grad.any()
            assert many[name].any()
        else:
            torch.testing.assert_close(grad, many[name])


def test_the_head_decides_what_is_hidden():
    """In the last epoch all hidden patches are the hardest ones."""
    model = hard_model()
    model.set_progress(Progress(9, 10, 4, 5))
    views = make_views(num_locals=0)
    preview = model.preview_masks(views, make_samples())
    teacher = model.teacher.backbone.encode(torch.cat(views))
    expected = model.predict_difficulty(teacher).topk(8).indices
    hidden = torch.zeros(6, 16, dtype=torch.bool).scatter(1, expected, True)
    assert torch.equal(preview['hidden'].flatten(1), hidden)


def test_targets_are_the_patch_losses(monkeypatch):
    """With the whole patch term: their weighted sum is loss_patch."""
    model = hard_model()
    seen = {}
    monkeypatch.setattr(
        model.patch_difficulty, 'loss',
        lambda tokens, mask, rows, losses: seen.update(
            terms=losses, mask=mask) or losses.sum() * 0)
    found = model.loss(make_views(), make_samples())
    # 8 hidden patches in each of 6 rows
    torch.testing.assert_close(seen['terms'].mean(), found['loss_patch'])
    assert len(seen['terms']) == 6 * 8


@pytest.mark.parametrize('kwargs, message', [
    (dict(mask_generator=HARD), 'give patch_difficulty'),
    (dict(patch_difficulty={}), 'AttentionMask does not look at it'),
    (dict(mask_generator=HARD, patch_difficulty=dict(weight=-1)),
     'weight=-1'),
])
def test_head_and_generator_belong_together(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        tiny_ibot(**kwargs)


def test_state_survives_a_round_trip():
    one, other = hard_model(), hard_model()
    with torch.no_grad():
        for part in one.patch_difficulty.parameters():
            part.add_(1.0)
    other.load_state_dict(one.state_dict())
    tokens = torch.randn(2, 3, 16)
    assert torch.equal(one.patch_difficulty(tokens),
                       other.patch_difficulty(tokens))
    assert HardPatchMask().needs.difficulty


def test_half_precision_does_not_blur_the_ranking():
    """bfloat16 would leave few different values, and the first would win."""
    model = hard_model()
    images = torch.cat(make_views(num_locals=0))
    with torch.autocast('cpu', torch.bfloat16):
        teacher = model.teacher.backbone.encode(images)
        found = model.predict_difficulty(teacher)
        losses = model.loss(make_views(), make_samples())
    assert found.dtype == torch.float32
    expected = model.predict_difficulty(teacher)
    torch.testing.assert_close(found, expected)
    assert all(torch.isfinite(value) for value in losses.values())
