"""MAE's encoder with masks from outside, beside the stock one."""
from __future__ import annotations

import pytest
import torch
from mmpretrain.models.selfsup import MAEViT as StockMAEViT
from toy_stock import ARCH

from mimplug.masking import Mask
from mimplug.models.backbones import MAEViT

pytestmark = pytest.mark.unit
GRID = (4, 4)


def build(kind, **kwargs):
    torch.manual_seed(0)
    model = kind(arch=ARCH, img_size=32, patch_size=8, **kwargs)
    model.init_weights()
    model.double().eval()  # the stock class returns None here
    return model


def images(batch=3):
    return torch.randn(batch, 3, 32, 32, dtype=torch.float64,
                       generator=torch.Generator().manual_seed(1))


def mask_of(*rows, dropped=None):
    """Rows are the hidden patches of an image."""
    hidden = torch.zeros(len(rows), 16, dtype=torch.bool)
    gone = torch.zeros_like(hidden)
    for row, patches in enumerate(rows):
        hidden[row, list(patches)] = True
    for row, patches in enumerate(dropped or ()):
        gone[row, list(patches)] = True
    return Mask(
        hidden.view(-1, 1, *GRID),
        gone.view(-1, 1, *GRID) if dropped else None,
        capacity=sum(map(len, rows)),
        num_dropped=len(dropped[0]) if dropped else None)


def in_raster_order(latent, ids_restore):
    """Features of all patches, NaN where nothing was seen, and CLS."""
    missing = ids_restore.shape[1] + 1 - latent.shape[1]
    full = torch.cat((latent[:, 1:], latent.new_full(
        (len(latent), missing, latent.shape[2]), float('nan'))), 1)
    return latent[:, 0], full.gather(
        1, ids_restore[..., None].expand(-1, -1, latent.shape[2]))


@pytest.mark.parametrize('ratio', [0.75, 0.5])
def test_stock_numbers_for_the_stock_mask(ratio):
    stock, ours = build(StockMAEViT, mask_ratio=ratio), build(MAEViT)
    ours.load_state_dict(stock.state_dict())
    latent, drawn, restore = stock(images())
    mask = Mask(drawn.bool().view(3, 1, *GRID),
                capacity=int(drawn.sum()))
    result = ours(images(), mask)
    assert torch.equal(result[1], drawn.float())
    for mine, theirs in zip(in_raster_order(result[0], result[2]),
                            in_raster_order(latent, restore)):
        # sums over the keys run in another order
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12,
                                   equal_nan=True)


def test_only_visible_patches_are_seen():
    model, x = build(MAEViT), images(2)
    mask = mask_of([0, 5], [2, 15], dropped=[[1, 7, 8], [3, 4, 0]])
    latent, _, restore = model(x, mask)
    assert latent.shape == (2, 1 + 11, 32)
    gone = (mask.hidden | mask.dropped).repeat_interleave(
        8, 2).repeat_interleave(8, 3)
    again = model(torch.where(gone, x + 1, x), mask)[0]
    assert torch.equal(again, latent)
    assert not torch.allclose(
        model(torch.where(gone, x, x + 1), mask)[0], latent)
    # hidden and dropped patches stand behind the visible ones
    behind = (restore >= 11).view(2, 1, *GRID)
    assert torch.equal(behind, mask.hidden | mask.dropped)


def test_modes_return_the_module():
    model = build(MAEViT)
    assert model.train() is model.eval() is model


def test_without_a_mask_it_is_the_plain_network():
    model = build(MAEViT)
    (features, ) = model(images())
    assert features.shape == (3, 17, 32)
    hidden = model(images(), mask_of([], [], []))[0]
    torch.testing.assert_close(hidden, features, rtol=0, atol=1e-12)


@pytest.mark.parametrize('mask', [
    mask_of([0, 1], [2]),
    Mask(torch.zeros(2, 1, *GRID, dtype=torch.bool),
         torch.zeros(2, 1, *GRID, dtype=torch.bool), capacity=0)])
def test_rows_must_agree(mask):
    with pytest.raises(ValueError, match='same number'):
        build(MAEViT)(images(2), mask)
