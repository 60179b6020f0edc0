"""MixMask's masks: the released ones draw by draw, and their statistics."""
from __future__ import annotations

import numpy as np
import pytest

from mimplug.draws import HashDraws, PythonRandomDraws, ReplayDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import GridBlockMask, GridDiscreteMask, MaskContext


class GivenDraws(PythonRandomDraws):
    """Hands out given numbers in their order, and knows when all are used."""

    def __init__(self, values):
        super().__init__(0)
        self.values = list(values)

    def batch_uniform(self, name, low=0.0, high=1.0, *, n=0):
        return self.values.pop(0)

    def batch_integers(self, name, low, high, *, n=0):
        value = self.values.pop(0)
        assert low <= value == int(value) <= high
        return int(value)


def context_of(grid, draws, rows=1):
    return MaskContext(grid=(grid, grid), batch_size=rows, draws=draws)


@pytest.mark.golden('mixmask', 'masks')
def test_released_blocks(golden):
    settings = [name for name in golden.names('') if name[:5] == 'block']
    assert settings
    for name in settings:
        grid, keep, number = (golden.scalar(f'{name}/{key}') for key in (
            'grid', 'mask_lam', 'num_masking_patches'))
        generator = GridBlockMask(keep)
        assert generator.limits((grid, grid)) == (
            grid**2 - number, grid**2)
        offsets = golden[f'{name}/offsets']
        for one, want in enumerate(golden.tensor(f'{name}/mask').bool()):
            draws = GivenDraws(
                golden[f'{name}/draws'][offsets[one]:offsets[one + 1]])
            mask = generator(context_of(grid, draws, 3))
            # the release has 1 = keep
            assert (mask.hidden == ~want).all()
            assert not draws.values
            assert mask.lam == pytest.approx(
                [golden[f'{name}/lam'][one]] * 3, abs=1e-6)


@pytest.mark.golden('mixmask', 'masks')
def test_released_cells(golden):
    generator = GridDiscreteMask(golden.scalar('discrete/mask_lam'))
    for uniform, want in zip(golden['discrete/uniform'],
                             golden.tensor('discrete/mask32').bool()):
        grid = len(uniform)
        mask = generator(context_of(
            grid, ReplayDraws({'cell': uniform, 'cell/1': uniform}), 2))
        step = want.shape[0] // grid
        assert (mask.hidden == ~want[::step, ::step]).all()


def kept_cells(generator, grid, rows, seed=0):
    """(rows, grid, grid) float64, 1 = keep."""
    draws = HashDraws(seed, 0, SampleKeys.arange(rows))
    mask = generator(context_of(grid, draws, rows))
    return 1.0 - mask.hidden[:, 0].double().numpy()


def check_mean(got, want, number, std, errors):
    """Two means of independent samples, at so many standard errors."""
    error = std * (1 / len(got) + 1 / number)**0.5
    assert np.all(np.abs(got.mean(0) - want) <= errors * error + 1e-9)


@pytest.mark.golden('mixmask', 'mask_stats')
def test_released_statistics(golden):
    """5 errors for single cells, of which there are a thousand."""
    numbers = golden['n_draws']
    for kind, grid, lam, mean, std, low, high, full, *_ in golden['table']:
        grid, number = int(grid), numbers[int(kind)]
        block = kind == 0
        generator = (GridBlockMask(lam, per='image') if block
                     else GridDiscreteMask(lam, per='image'))
        kept = kept_cells(generator, grid, int(number))
        share = kept.mean((1, 2))
        check_mean(share, mean, number, std, 4)
        if block:
            assert share.max() <= int(lam * grid**2) / grid**2
            reached = np.isclose(share, int(lam * grid**2) / grid**2)
            spread = (full * (1 - full))**0.5 + 1 / number
            check_mean(reached, full, number, spread, 4)
            want = golden[f'block_occ_g{grid}_lam{round(100 * lam)}']
            spread = np.sqrt(want * (1 - want)) + 1 / number
            check_mean(kept, want, number, spread, 5)
        else:
            # some grids are drawn anew; both samples have the same rule
            assert share.std() == pytest.approx(std, rel=0.15)
            assert low >= 1 / grid**2 <= share.min()
            assert high <= 1 - 1 / grid**2 >= share.max()


@pytest.mark.property
@pytest.mark.parametrize('cls', [GridBlockMask, GridDiscreteMask])
def test_one_mask_for_the_batch_and_all_ranks(cls):
    def make(per, rank, step=0):
        keys = SampleKeys.arange(4, rank=rank)
        return cls(per=per)(context_of(
            8, HashDraws(0, step, keys, rank=rank), 4)).hidden

    batch = make('batch', 0)
    assert (batch == batch[:1]).all()
    assert (batch == make('batch', 1)).all()
    assert (batch != make('batch', 0, step=1)).any()
    images = make('image', 0)
    assert all((images[0] != other).any() for other in images[1:])
    assert (images != make('image', 1)).any()


@pytest.mark.property
@pytest.mark.parametrize('threshold', [1e-6, 0.999999])
def test_extreme_thresholds_end(threshold):
    for per in ('batch', 'image'):
        kept = kept_cells(GridDiscreteMask(threshold, per), 3, 4)
        assert set(kept.sum((1, 2))) <= {1.0, 8.0}


@pytest.mark.unit
def test_wrong_settings():
    with pytest.raises(ConfigError, match='fewer than 3 cells a side'):
        GridBlockMask().check((2, 2))
    with pytest.raises(ConfigError, match='a single cell'):
        GridDiscreteMask().check((1, 1))
    for wrong in ((0.3,), (0.0, 1.0), (2.0, 1.0)):
        with pytest.raises(ConfigError, match='0 < low <= high'):
            GridBlockMask(aspect=wrong)
    with pytest.raises(ConfigError, match="per='rank': allowed: batch"):
        GridDiscreteMask(per='rank')
    with pytest.raises(ConfigError, match='threshold=1'):
        GridDiscreteMask(1)
