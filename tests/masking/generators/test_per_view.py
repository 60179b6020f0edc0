"""A generator for each view: who gets which, and the masks then."""
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mimplug.draws import SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    AMTMask,
    AttentionMask,
    BlockMask,
    LogScore,
    Mask,
    MaskGenerator,
    MultiBlockMask,
    Needs,
    NoMask,
    PerView,
    RandomMask,
    RolloutMask,
    StratifiedRatio,
    UniformCellMask,
    UniformRatio,
    build_generator,
)
from mimplug.schedules import Progress

SHARES = (0.1, 0.5, 0.9)


def fixed():
    """Three generators that tell themselves apart by what they hide."""
    return [RandomMask(share) for share in SHARES]


def used(mask, views):
    """(V, B) number of the generator that made a row's mask."""
    share = mask.tokens.float().mean(1).reshape(views, -1, 1)
    return (share - torch.tensor(SHARES)).abs().argmin(2)


@pytest.mark.property
@pytest.mark.parametrize('views', [1, 2, 3])
def test_by_crop(views, make_context):
    context = make_context(views=views, attention=True)
    generators = [AttentionMask(layer=2), BlockMask(0.4), RolloutMask('last')]
    mask = PerView(generators)(context)
    expected = Mask.cat([generators[view](context.view(view))
                         for view in range(views)])
    assert torch.equal(mask.hidden, expected.hidden)
    assert mask.capacity == expected.capacity == mask.hidden.sum()


@pytest.mark.unit
def test_a_generator_for_every_crop(make_context):
    with pytest.raises(ValueError, match='view 3 has no generator'):
        PerView(fixed())(make_context(views=4))


@pytest.mark.property
@pytest.mark.parametrize('views', [1, 2, 5])
def test_cycle_moves_on_with_the_step(views, make_context):
    generator = PerView(fixed(), 'cycle')
    for step in range(4):
        mask = generator(make_context(
            views=views, progress=Progress(step, 10), step=step))
        turns = (np.arange(views) + step) % 3
        assert used(mask, views).tolist() == [[turn] * 4 for turn in turns]


@pytest.mark.property
@pytest.mark.parametrize('views', [1, 2])
def test_random_gives_each_view_of_each_image_its_own(views, make_context):
    generator = PerView(fixed(), 'random')
    assert generator.num_views is None
    context = make_context(batch=300, views=views)
    chosen = used(generator(context), views)
    counts = torch.bincount(chosen.flatten(), minlength=3) / chosen.numel()
    assert (counts - 1 / 3).abs().max() < 0.08
    if views == 2:
        assert (chosen[0] == chosen[1]).float().mean() < 0.5
    other = used(generator(make_context(
        views=views, keys=SampleKeys(*np.broadcast_arrays(
            1, np.arange(300), 0)))), views)
    assert (chosen == other).float().mean() < 0.5


@pytest.mark.property
def test_random_takes_the_masks_that_the_generators_make(make_context):
    """Row by row: also ratios by image or batch, tables and attention."""
    generators = [
        AttentionMask('hint', UniformRatio(0.5, 0.4, 'image'), 0.7,
                      show_max=0.4, score=LogScore(1)),
        RandomMask(UniformRatio(0.5, 0.4, 'batch'), apply_prob=0.7),
        BlockMask(0.4), RolloutMask()]
    context = make_context(batch=40, attention=True)
    mask = PerView(generators, 'random')(context)
    drawn = context.draws.row_integers('per_view', 0, 3)
    assert set(drawn) == {0, 1, 2, 3}
    whole = torch.stack([part(context).hidden for part in generators])
    expected = whole[torch.from_numpy(drawn), torch.arange(80)]
    assert torch.equal(mask.hidden, expected)
    assert mask.capacity == expected.sum()


@pytest.mark.unit
def test_random_with_a_generator_that_nobody_drew(make_context):
    mask = PerView(fixed() * 4, 'random')(make_context(batch=1, views=1))
    assert mask.hidden.shape == (1, 1, 6, 5)
    assert mask.capacity == mask.hidden.sum() > 0


@pytest.mark.unit
def test_random_picks_only_the_attention_of_its_generator(make_context):
    seen = []

    class Asking(AttentionMask):

        def __call__(self, context):
            seen.append(sorted(context.attention))
            return super().__call__(context)

    PerView([Asking(layer=0), Asking(layer=-1)], 'random')(
        make_context(batch=20, attention=True))
    assert seen == [[0], [2]]
    # Without the depth nobody knows which layer -1 is.
    context = make_context(batch=20, attention=True)
    with pytest.raises(ConfigError, match='num_layers'):
        PerView([Asking(layer=-1)], 'random')(
            replace(context, num_layers=None))
    assert seen[-1] == [0, 1, 2]


@pytest.mark.unit
def test_random_picks_only_what_its_generator_looks_at(make_context):
    seen = []

    class Asking(RandomMask):
        needs = Needs(features=True)

        def __call__(self, context):
            seen.append((context.features, context.images))
            return super().__call__(context)

    context = replace(
        make_context(batch=20), features=torch.randn(40, 30, 4),
        images=torch.randn(40, 3, 8, 8))
    PerView([Asking(0.3), Asking(0.4)], 'random')(context)
    assert len(seen) == 2
    assert all(features is not None and images is None
               for features, images in seen)


@pytest.mark.unit
@pytest.mark.parametrize('inner', ['by_crop', 'cycle'])
def test_drawn_rows_know_no_view(inner):
    """A nested combinator would take all of them for view 0."""
    with pytest.raises(ConfigError, match="assign='random'"):
        PerView([PerView(fixed(), inner), NoMask()], 'random')
    PerView([PerView(fixed(), 'random'), NoMask()], 'random')


@pytest.mark.unit
@pytest.mark.parametrize('parts', [
    (AMTMask(), AMTMask(throw=0.3)), (AMTMask(), UniformCellMask()),
    (AMTMask(), AMTMask(random_epochs=3)),
    (MultiBlockMask(2, keep=0.8), MultiBlockMask(2, keep=0.9)),
    (MultiBlockMask(), MultiBlockMask())])
def test_rows_of_different_lengths_are_refused(parts):
    with pytest.raises(ConfigError, match='drop'):
        PerView(parts).check((14, 14), 12)


@pytest.mark.unit
def test_rows_of_one_length_are_taken():
    for parts in ((AMTMask(), AMTMask(layer=4)), [MultiBlockMask()],
                  (MultiBlockMask(1, keep=0.8), MultiBlockMask(2, keep=0.8)),
                  (RandomMask(0.3), UniformCellMask(drop=False)),
                  (Boxed(), Boxed())):
        PerView(parts).check((14, 14), 12)


@pytest.mark.unit
def test_views_keep_their_place_in_nested_combinators(make_context):
    inner = PerView(fixed()[1:])
    nested = PerView([inner, inner])
    mask = nested(make_context())
    assert used(mask, 2).tolist() == [[1] * 4, [2] * 4]


@pytest.mark.unit
def test_one_teacher_forward_gives_what_all_need():
    generator = PerView([
        AttentionMask(layer=11), AttentionMask(layer=4),
        RolloutMask('last'), RandomMask(0.3)])
    needs = generator.needs.resolve(12)
    assert (needs.cls_rows, needs.full) == ((4, 11), (8, 9, 10))
    assert generator.num_views == 4
    assert generator.limits((14, 14)) == (0, 98)
    with pytest.raises(ConfigError, match='layer=11'):
        generator.check((14, 14), 8)


@pytest.mark.unit
def test_flags_are_those_of_the_parts():
    plain, coupled = RandomMask(0.3), RandomMask(StratifiedRatio())
    assert PerView([plain, NoMask()]).exact_count
    assert not PerView([plain, BlockMask(0.4)]).exact_count
    assert not PerView([plain, plain]).batch_coupled
    assert PerView([plain, coupled]).batch_coupled


class Coloured(MaskGenerator):
    """A mask for each colour channel."""

    channels = 3

    def __call__(self, context):
        return Mask(torch.zeros(context.rows, 3, *context.grid,
                                dtype=torch.bool))


class Boxed(MaskGenerator):
    """A box with the number of its row, drops as many cells in each."""

    drops = True

    def __call__(self, context):
        number = torch.from_numpy(context.draws.row_uniform('box'))
        cells = torch.zeros(context.rows, 1, *context.grid, dtype=torch.bool)
        dropped = cells.clone()
        dropped[..., 0, 0] = True
        return Mask(cells, dropped, number[:, None].repeat(1, 4),
                    num_dropped=1)


@pytest.mark.unit
def test_everything_of_a_mask_goes_back_to_its_row(make_context):
    context = make_context(batch=10)
    generator = PerView([Boxed(), Boxed()], 'random')
    assert generator.drops
    mask = generator(context)
    expected = torch.from_numpy(context.draws.row_uniform('box'))
    assert torch.equal(mask.boxes[:, 2], expected)
    assert mask.num_dropped == 1
    assert mask.dropped.sum() == 20


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(generators=[]), 'at least one'),
    (dict(generators=dict(type='RandomMask', ratio=0.3)), 'a sequence'),
    (dict(generators=[dict(type='RandmMask', ratio=0.3)]),
     "did you mean 'RandomMask'"),
    (dict(generators=fixed(), assign='by_crp'), "did you mean 'by_crop'"),
    (dict(generators=[NoMask(), Coloured()]), r'channels=\[1, 3\]'),
    (dict(generators=[NoMask(), Boxed()]), r'drops=\[False, True\]'),
])
def test_wrong_arguments(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        build_generator(dict(type='mimplug.PerView', **kwargs))
