"""Masked views of the released saliency MoCo: cells, fills, noise."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from saliency_draws import (
    PROBS,
    STRATEGIES,
    cell_statistics,
    chances,
    normalise,
    saliency_of,
)

from mimplug.draws import ReplayDraws
from mimplug.filters import high_pass
from mimplug.masking import ImageMasker

MODES = {'pos': 'balanced', 'neg': 'foreground'}


def side_of(length):
    """Cells a side of a square grid."""
    side = round(length**0.5)
    assert side**2 == length
    return side


def check_statistics(images, golden, prefix, rows=slice(None)):
    side = golden[f'{prefix}out_cellmean'].shape[-1]
    for got, name in zip(cell_statistics(images, side), ('mean', 'rms')):
        want = golden.tensor(f'{prefix}out_cell{name}')
        torch.testing.assert_close(got[rows], want[rows], rtol=0, atol=1e-5)


@pytest.mark.golden('saliency_moco', 'mask_mean', 'mask_blur')
@pytest.mark.parametrize('mode', ['pos', 'neg'])
def test_mean_and_blur(golden, mode):
    given = {name: golden[f'{mode}/{name}']
             for name in ('fg', 'fg_perm', 'mask_ratio', 'cells')}
    back = golden[f'{mode}/bg_perm'] if mode == 'pos' else None
    side = side_of(given['fg'].shape[1])
    fill = 'MeanFill' if golden.path.stem == 'mask_mean' else 'BlurFill'
    masker = ImageMasker(
        dict(type='mimplug.SaliencyMask', mode=MODES[mode], num_stds=0.0,
             list_compat=True), dict(type=f'mimplug.{fill}'), cells=side)
    table = chances(given['fg'], given['fg_perm'], back)
    draws = ReplayDraws({'ratio': given['mask_ratio'].astype(np.float64),
                         'saliency/cell': table[:, None]})
    images = normalise(golden.tensor('img_u8'))
    masker.check(tuple(images.shape[2:]))
    masked, mask = masker(
        images, draws, saliency=saliency_of(given['fg'], (side, side)))
    assert np.array_equal(mask.hidden.flatten(1).numpy(), given['cells'])
    check_statistics(masked, golden, f'{mode}/')
    torch.testing.assert_close(
        masked[0], golden.tensor(f'{mode}/out_img0'), rtol=0, atol=1e-5)


def high_pass_draws(golden, size):
    """Everything that the release drew for one batch."""
    foreground, info = golden['fg'], golden['perm_info']
    rows, length = foreground.shape
    perms = np.full((2, 3, rows, length), -1)
    for (row, channel, back, _), perm in zip(info, golden['perm']):
        perms[back, channel, row] = perm
    table = np.stack([chances(foreground, *perms[:, channel])
                      for channel in range(3)], 1)
    std, cell = golden.scalar('noise_std'), golden.scalar('cell')
    patches = np.zeros((3, 3, cell, cell))
    patches[1], patches[2] = golden['spatial_noise'], golden['channel_noise']
    box = np.zeros((3, *size))
    if 'focal_noise' in golden:
        noise = golden['focal_noise']
        box[:, :noise.shape[1], :noise.shape[2]] = noise
    fresh = np.random.default_rng(0).standard_normal((rows, 3, *size))
    strategy = golden['strategy']
    return ReplayDraws({
        'mixed': STRATEGIES[strategy],
        'ratio': np.nan_to_num(golden['mask_ratio']),
        'saliency/cell': table[:, :1], 'saliency/channel': table,
        'focal/top': golden['crop_box'][:, 0].clip(0),
        'focal/left': golden['crop_box'][:, 1].clip(0),
        'noise/patch': patches / std, 'noise/box': box / std,
        'noise/fresh': fresh})


def high_pass_masker(golden, mode, cells, size, fill):
    """The recipe: focal, spatial and channel-wise rows."""
    saliency = dict(type='SaliencyMask', mode=MODES[mode], num_stds=0.0,
                    cap=0.55, list_compat=True)
    focal = dict(type='FocalMask', side=golden.scalar('crop_size') / size,
                 hide='outside' if mode == 'pos' else 'inside')
    return ImageMasker(
        dict(type='mimplug.MixedMask', probs=PROBS, cells=cells,
             generators=[focal, saliency, dict(saliency, channelwise=True)]),
        dict(type=f'mimplug.{fill}', std=golden.scalar('noise_std')))


def check_cells(mask, golden, cells):
    """Where cells are hidden; the boxes are looked at by the pixels."""
    want, strategy = golden.tensor('cells', torch.bool), golden['strategy']
    height, width = mask.grid
    tall, wide = height // cells, width // cells
    coarse = mask.hidden[:, :, ::tall, ::wide].flatten(2)
    rows = np.flatnonzero(strategy > 0)
    assert torch.equal(coarse[rows], want[rows])
    assert torch.equal(mask.kind, torch.from_numpy(strategy))
    box = golden.tensor('crop_box')[strategy == 0]
    top, left, tall, wide = box.T
    want = torch.stack((left, top, left + wide, top + tall), 1).float()
    assert torch.equal(mask.boxes[strategy == 0], want)


@pytest.mark.golden('saliency_moco', 'mask_hp_pos', 'mask_hp_neg')
@pytest.mark.parametrize('fill', ['NoiseFill', 'HighPassFill'])
def test_high_pass_and_noise(golden, fill):
    mode = golden.path.stem[-3:]
    images = normalise(golden.tensor('img_u8'))
    size = tuple(images.shape[2:])
    cells = size[0] // golden.scalar('cell')
    masker = high_pass_masker(golden, mode, cells, size[0], fill)
    masker.check(size)
    filtered = high_pass(images)
    torch.testing.assert_close(
        filtered[0], golden.tensor('hp_in_img0'), rtol=0, atol=2e-5)
    masked, mask = masker(
        filtered if fill == 'NoiseFill' else images,
        high_pass_draws(golden, size),
        saliency=saliency_of(golden['fg'], (cells, cells)))
    check_cells(mask, golden, cells)
    strategy = golden['strategy']
    exact = strategy >= (1 if mode == 'pos' else 0)
    check_statistics(masked, golden, '', np.flatnonzero(exact))
    for row, want in zip(golden['sel'], golden.tensor('out_sel')):
        hidden = mask.hidden[row].expand_as(want)
        if not exact[row]:  # fresh noise outside of the box
            outside = masked[row][hidden]
            assert outside.std() == pytest.approx(
                golden.scalar('noise_std'), rel=0.1)
            assert want[hidden].std() == pytest.approx(
                golden.scalar('noise_std'), rel=0.1)
            hidden = ~hidden
            torch.testing.assert_close(
                masked[row][hidden], want[hidden], rtol=0, atol=2e-5)
        else:
            torch.testing.assert_close(masked[row], want, rtol=0, atol=2e-5)
