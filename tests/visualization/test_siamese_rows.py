"""What encoders of masked siamese networks see."""
from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS
from toy_siamese import (
    BACKBONE,
    HARD,
    MIXES,
    PROJECTOR,
    register,
    tiny_siamese,
    view_mask,
)

from mimplug.visualization import is_siamese, siamese_gallery
from mimplug.visualization.siamese_rows import siamese_parts

pytestmark = pytest.mark.unit


def photos(batch=3):
    return torch.rand(batch, 3, 32, 32,
                      generator=torch.Generator().manual_seed(0))


def stock():
    register()
    return MODELS.build(dict(
        type='SimCLR', backbone=BACKBONE, neck=PROJECTOR,
        head=dict(type='ContrastiveHead', temperature=0.1,
                  loss=dict(type='CrossEntropyLoss')),
        data_preprocessor=dict(
            type='mimplug.MaskingDataPreprocessor',
            input_filter=dict(type='mimplug.HighPass', kernel_size=3),
            saliency=dict(type='mimplug.SpectralResidual', size=16),
            view_masks=[view_mask(dict(type='mimplug.SaliencyMask'),
                                  views=[1])])))


def test_every_part_once_and_as_the_encoder_gets_it():
    model = tiny_siamese(
        'SaliencyMoCo', mixes=MIXES, hard_negative=dict(HARD, num=2),
        view_masks=[view_mask(), view_mask(views=[1], branch='key')])
    views = [photos(), photos()]
    with torch.no_grad():
        parts = list(siamese_parts(model, views))
    assert [part.name for part in parts] == [
        'view 0, query', 'view 1, key', 'hard negative', 'hard negative',
        'UnMix', 'MaskMix']
    cells = parts[0].hidden[:, 0].repeat_interleave(8, 1).repeat_interleave(
        8, 2)
    assert torch.equal((parts[0].images != views[0]).any(1), cells)
    assert all(part.hidden is None for part in parts[1:])
    assert not torch.equal(parts[2].images, parts[3].images)


def test_the_masks_of_a_stock_algorithm():
    model = stock()
    assert is_siamese(model)
    siamese_gallery(model, photos())
    part, = siamese_parts(model, [photos(), photos()])
    assert part.name == 'view 1'
    assert part.hidden.any()


@pytest.mark.parametrize('model', [
    lambda: tiny_siamese('BYOL', view_masks=[view_mask()], mixes=MIXES),
    stock])
def test_the_picture_shows_all_rows_and_changes_with_the_seed(model):
    model = model()
    training = [part.training for part in model.modules()]
    first, again, other = (siamese_gallery(
        model, photos(), title='x', source='y', seed=seed, cell=32)
        for seed in (0, 0, 1))
    assert (first == again).all()
    assert first.shape == other.shape
    assert (first != other).any()
    assert [part.training for part in model.modules()] == training


def test_other_networks_are_not_siamese():
    assert not is_siamese(None)
    assert not is_siamese(torch.nn.Linear(1, 1))
