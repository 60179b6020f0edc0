"""Mixing: MixMask and Un-Mix as released, any batch and precision."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, ReplayDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import MaskMix, UnMix, build_mixer
from mimplug.masking.mixing import Mixer
from mimplug.registry import TASK_UTILS

MIXERS = [
    pytest.param(
        dict(type=f'mimplug.{name}', **example), id=f'{name}-{number}')
    for name, part in sorted(TASK_UTILS.module_dict.items())
    if isinstance(part, type) and issubclass(part, Mixer)
    for number, example in enumerate(part.examples)]
every_mixer = pytest.mark.parametrize('config', MIXERS)


def draws_of(batch, step=0, rank=0):
    return HashDraws(0, step, SampleKeys.arange(batch, rank=rank), rank=rank)


def images_of(batch, size=(16, 24), dtype=torch.float32):
    noise = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, *size, generator=noise).to(dtype)


def partner_draw(partner):
    """Numbers whose ranks are this permutation."""
    return np.argsort(partner) / len(partner)


@pytest.mark.golden('mixmask', 'mix')
@pytest.mark.parametrize('kind', ['block', 'discrete'])
@pytest.mark.parametrize('partner', ['flip', 'perm'])
def test_released_mask_mix(golden, kind, partner):
    images = golden.tensor('images', torch.float32) / 8
    grid = golden[f'{kind}/mask_grid']
    mixer = MaskMix(dict(type='GridDiscreteMask'), grid=len(grid), partner=(
        'reverse' if partner == 'flip' else 'permutation'))
    mixer.check(tuple(images.shape[2:]))
    perm = golden[f'{kind}/perm']
    mixed = mixer(images, ReplayDraws({
        'cell': 0.1 + 0.8 * grid, 'mix/partner': partner_draw(perm)}))
    want = golden.tensor(f'{kind}/mixed_{partner}', torch.float32) / 8
    assert torch.equal(mixed.images, want)
    assert torch.equal(mixed.lam, torch.full(
        (len(images),), golden.scalar(f'{kind}/lam')))
    wanted = np.arange(len(perm))[::-1] if partner == 'flip' else perm
    assert np.array_equal(mixed.partner.numpy(), wanted)


@pytest.mark.golden('mixmask', 'mix')
def test_released_global_mix(golden):
    images = golden.tensor('images', torch.float32) / 8
    lam = golden.scalar('unmix_global/lam')
    mixed = UnMix(prob=1.0)(images, ReplayDraws(
        {'unmix/lam': lam, 'unmix/global': 0.5}))
    torch.testing.assert_close(
        mixed.images, golden.tensor('unmix_global/mixed'), rtol=0, atol=1e-6)
    torch.testing.assert_close(
        mixed.lam, torch.full((len(images),), lam, dtype=torch.float32))


@pytest.mark.golden('mixmask', 'mix')
def test_released_region_mix(golden):
    images = golden.tensor('images', torch.float32) / 8
    keys = ('lam_drawn', 'centre', 'bbox', 'lam_adjusted')
    boxes = zip(*(golden[f'unmix_region/{key}'] for key in keys))
    for number, (lam, centre, box, adjusted) in enumerate(boxes):
        draws = ReplayDraws({'unmix/lam': lam, 'unmix/global': 0.5,
                             'unmix/row': centre[0],
                             'unmix/column': centre[1]})
        top, left, bottom, right = UnMix.box(lam, *images.shape[2:], draws)
        # the release calls the first axis x
        assert (top, left, bottom, right) == tuple(box)
        mixed = UnMix(prob=0.0)(images, draws)
        assert mixed.lam.numpy() == pytest.approx(
            np.full(len(images), adjusted), abs=1e-6)
        if number == 0:
            want = golden.tensor('unmix_region/mixed0', torch.float32) / 8
            assert torch.equal(mixed.images, want)


@pytest.mark.property
@every_mixer
@pytest.mark.parametrize('batch', [1, 2, 5])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_every_pixel_is_a_mix_of_the_pair(config, batch, dtype, no_sync):
    mixer = build_mixer(config)
    images = images_of(batch, dtype=dtype)
    mixer.check(tuple(images.shape[2:]))
    with no_sync():
        mixed = mixer(images, draws_of(batch))
    assert mixed.images.dtype == dtype
    assert mixed.lam.shape == mixed.partner.shape == (batch,)
    assert mixed.lam.dtype == torch.float32
    assert sorted(mixed.partner.tolist()) == list(range(batch))
    assert ((mixed.lam >= 0) & (mixed.lam <= 1)).all()
    pair = torch.stack((images, images[mixed.partner])).float()
    slack = 0.02 if dtype == torch.bfloat16 else 1e-6
    assert (mixed.images.float() >= pair.amin(0) - slack).all()
    assert (mixed.images.float() <= pair.amax(0) + slack).all()
    if batch == 1:  # mixed with itself
        torch.testing.assert_close(mixed.images, images)


@pytest.mark.property
@every_mixer
def test_lam_is_the_share_that_is_kept(config):
    mixer = build_mixer(config)
    images = images_of(4)
    for step in range(5):
        mixed = mixer(images, draws_of(4, step))
        others = mixed.partner != torch.arange(4)
        kept = (mixed.images == images).all(1).flatten(1).float().mean(1)
        taken = (mixed.images == images[mixed.partner]).all(1).flatten(
            1).float().mean(1)
        whole = (kept + taken - 1).abs() < 1e-6
        torch.testing.assert_close(
            kept[others & whole], mixed.lam[others & whole])
        if not whole.any():  # a global mix
            other = images[mixed.partner]
            lam = mixed.lam.view(-1, 1, 1, 1)
            torch.testing.assert_close(
                mixed.images, lam * images + (1 - lam) * other)


@pytest.mark.property
@every_mixer
def test_the_same_on_all_ranks_and_new_every_step(config):
    mixer = build_mixer(config)
    images = images_of(4)
    one = mixer(images, draws_of(4))
    again = mixer(images, draws_of(4))
    assert torch.equal(one.images, again.images)
    steps = [mixer(images, draws_of(4, step)).images for step in range(4)]
    assert any(not torch.equal(one.images, other) for other in steps)
    if getattr(mixer, 'mask_generator', None) is None or (
            'mask_generator' not in config):
        other = mixer(images, draws_of(4, rank=1))
        assert torch.equal(one.images, other.images)


@pytest.mark.property
def test_a_mask_for_each_image_makes_lam_a_vector():
    mixer = MaskMix(dict(type='GridDiscreteMask', per='image'), grid=8)
    mixed = mixer(images_of(6, (32, 32)), draws_of(6))
    assert len(set(mixed.lam.tolist())) > 1
    torch.testing.assert_close(mixed.lam, mixed.mask.lam)


@pytest.mark.property
@pytest.mark.parametrize('beta', [0.3, 1.0, 4.0])
def test_lam_is_beta_distributed(beta):
    values = [UnMix(prob=1.0, beta=beta)(
        torch.zeros(1, 1, 1, 1), draws_of(1, step)).lam for step in range(600)]
    values = torch.cat(values)
    want = 1 / (4 * (2 * beta + 1))
    assert values.mean() == pytest.approx(0.5, abs=0.06)
    assert values.var() == pytest.approx(want, rel=0.2)


@pytest.mark.unit
def test_what_does_not_fit():
    with pytest.raises(ConfigError, match='30 x 32 pixels has no 8 x 8'):
        MaskMix().check((30, 32))
    with pytest.raises(ConfigError, match='fewer than 3 cells'):
        MaskMix(grid=2).check(32)
    with pytest.raises(ConfigError, match='allowed: reverse, permutation'):
        UnMix(partner='flip')
    with pytest.raises(ConfigError, match='images are mixed without'):
        MaskMix(dict(type='SaliencyMask'))
    with pytest.raises(ConfigError, match=r'prob=1\.5'):
        UnMix(prob=1.5)
    with pytest.raises(ConfigError, match="did you mean 'UnMix'"):
        build_mixer(dict(type='UnMixx'))
    with pytest.raises(ConfigError, match=r'grid=0'):
        MaskMix(grid=0)
