"""What every registered fill must hold: one loop over the registry."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, PickedDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import (
    Fill,
    FocalMask,
    Mask,
    MaskContext,
    build_fill,
    build_generator,
    pixel_mask,
)
from mimplug.registry import TASK_UTILS

FILLS = [
    pytest.param(
        dict(type=f'mimplug.{name}', **example), id=f'{name}-{number}')
    for name, part in sorted(TASK_UTILS.module_dict.items())
    if isinstance(part, type) and issubclass(part, Fill)
    for number, example in enumerate(part.examples)]
every_fill = pytest.mark.parametrize('config', FILLS)
GENERATORS = {
    'cells': (dict(type='RandomMask', ratio=0.4), (4, 3)),
    'channels': (dict(type='SaliencyMask', guided=False, channelwise=True,
                      ratio=0.4), (4, 3)),
    'box': (dict(type='FocalMask', side=0.5), None),
    'mixed': (dict(type='MixedMask', probs=(0.5, 0.5), cells=(4, 3),
                   generators=(dict(type='FocalMask', hide='inside'),
                               dict(type='RandomMask', ratio=0.4))), None),
}
every_mask = pytest.mark.parametrize('kind', GENERATORS)
SIZE = (20, 27)


def draws_of(index, rank=0):
    index = np.asarray(index)
    return HashDraws(0, 5, SampleKeys(0 * index, index, 0 * index), rank=rank)


def images_of(index, size=SIZE, dtype=torch.float32):
    return torch.stack([
        torch.randn(3, *size, generator=torch.Generator().manual_seed(one))
        for one in index]).to(dtype)


def mask_of(kind, draws, size=SIZE):
    config, grid = GENERATORS[kind]
    return build_generator(config)(MaskContext(
        grid=grid or size, batch_size=draws.batch_size, draws=draws))


@pytest.mark.property
@every_fill
@every_mask
@pytest.mark.parametrize('batch', [1, 5])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_changes_hidden_places_only(config, kind, batch, dtype, no_sync):
    fill = build_fill(config)
    fill.check(SIZE)
    index = list(range(batch))
    images, draws = images_of(index, dtype=dtype), draws_of(index)
    before = images.clone()
    mask = mask_of(kind, draws)
    with no_sync():
        filled = fill(images, mask, draws)
    assert torch.equal(images, before)
    assert filled.dtype == dtype
    assert filled.shape == images.shape
    assert torch.isfinite(filled).all()
    hidden = pixel_mask(mask, SIZE).expand_as(images)
    empty = Mask.none(batch, (1, 1))
    plain = fill(images, empty, draws)  # high-passed in one of them
    assert torch.equal(filled[~hidden], plain[~hidden])
    alone = fill.batch_coupled and batch == 1
    if not alone and not hasattr(fill, 'kernel'):
        assert torch.equal(plain, images)
    if not alone:
        share = (filled == plain)[hidden].float().mean()
        assert share < (0.7 if fill.batch_coupled else 0.05)


@pytest.mark.property
@every_fill
@every_mask
def test_an_image_does_not_see_its_neighbours(config, kind):
    """One process with 4 images has the bits of two with 2."""
    fill, index = build_fill(config), [7, 3, 9, 4]
    draws = draws_of(index)
    whole = fill(images_of(index), mask_of(kind, draws), draws)
    parts = []
    for rank in range(2):
        own = index[2 * rank:2 * rank + 2]
        draws = draws_of(own, rank)
        parts.append(fill(images_of(own), mask_of(kind, draws), draws))
    same = torch.equal(torch.cat(parts), whole)
    assert same != fill.batch_coupled


@pytest.mark.property
@every_fill
def test_picked_rows_keep_their_numbers(config):
    fill, index = build_fill(config), [7, 3, 9, 4]
    if fill.batch_coupled:
        return
    images, draws = images_of(index), draws_of(index)
    whole = fill(images, mask_of('box', draws), draws)
    part = PickedDraws(draws, np.array([3, 1]))
    assert torch.equal(fill(images[[3, 1]], mask_of('box', part), part),
                       whole[[3, 1]])


@pytest.mark.property
def test_noise_has_its_spread_and_repeats_by_cell():
    images, draws = images_of(range(6), (64, 64)), draws_of(range(6))
    everything = Mask(torch.ones(6, 1, 4, 4, dtype=torch.bool))
    for patch, number in (('shared', 3 * 16 * 16), ('fresh', images.numel())):
        fill = build_fill(dict(type='NoiseFill', std=0.5, patch=patch))
        filled = fill(images, everything, draws)
        error = 5 * 0.5 / number**0.5
        assert filled.mean().abs() < error
        assert (filled.std() - 0.5).abs() < error
        cells = filled.unflatten(3, (4, 16)).unflatten(2, (4, 16))
        same = (cells == cells[:1, :, :1, :, :1]).all()
        assert same == (patch == 'shared')


@pytest.mark.property
def test_boxes_share_a_patch_and_the_outside_is_fresh():
    draws = draws_of(range(3))
    images = images_of(range(3), (24, 24))
    for hide in ('inside', 'outside'):
        generator = FocalMask(0.5, hide)
        mask = generator(MaskContext(
            grid=(24, 24), batch_size=3, draws=draws))
        filled = build_fill(dict(type='NoiseFill'))(images, mask, draws)
        seen = []
        for row, box in enumerate(mask.boxes.long().tolist()):
            left, top, right, bottom = box
            assert (right - left, bottom - top) == (12, 12)
            inside = filled[row, :, top:bottom, left:right]
            kept = images[row, :, top:bottom, left:right]
            assert torch.equal(inside, kept) == (hide == 'outside')
            seen.append(inside if hide == 'inside' else filled[row, :, 0])
        assert torch.equal(seen[0], seen[1]) == (hide == 'inside')


@pytest.mark.property
def test_mean_and_blur_are_those_of_the_image():
    images = images_of([1], (32, 32))
    everything = Mask(torch.ones(1, 3, 2, 2, dtype=torch.bool))
    filled = build_fill(dict(type='MeanFill'))(
        images, everything, draws_of([1]))
    mean = images.mean((2, 3), keepdim=True)
    assert torch.equal(filled, mean.expand_as(images))
    blurred = build_fill(dict(type='BlurFill', reference_size=224))
    assert blurred.kernel((32, 64)) == (5, 10 * 32 / 224)
    assert build_fill(dict(type='BlurFill')).kernel((32, 64)) == (31, 10.0)


@pytest.mark.unit
def test_dropped_cells_are_filled_as_well():
    hidden = torch.tensor([[[[True, False, False]]]])
    mask = Mask(hidden, dropped=hidden.roll(1, 3))
    want = [[True, True, True, True, False, False]]
    assert pixel_mask(mask, (1, 6))[0, 0].tolist() == want


@pytest.mark.unit
@pytest.mark.parametrize('config, message', [
    (dict(type='BlurFil'), "did you mean 'BlurFill'"),
    (dict(type='BlurFill', kernel_size=4), 'kernel_size=4'),
    (dict(type='NoiseFill', patch='tile'), 'allowed: shared, fresh'),
    (dict(type='NoiseFill', std=-1), 'std=-1'),
    (dict(type='MixFill', partner='next'), 'allowed: reverse, permutation'),
    (dict(type='MeanFill', value=1), "no argument 'value'"),
])
def test_wrong_settings(config, message):
    with pytest.raises(ConfigError, match=message):
        build_fill(config)


@pytest.mark.unit
def test_sizes_that_do_not_fit():
    images, draws = images_of([0], (20, 30)), draws_of([0])
    mask = Mask(torch.ones(1, 1, 7, 7, dtype=torch.bool))
    with pytest.raises(ConfigError, match='20 x 30 pixels has no 7 x 7 equal'):
        build_fill(dict(type='MeanFill'))(images, mask, draws)
    with pytest.raises(ConfigError, match=r'kernel_size=31.*mirrored by 15'):
        build_fill(dict(type='BlurFill')).check((14, 14))
