"""A generator and a fill together: sizes, needs, one or two processes."""
from __future__ import annotations

import numpy as np
import pytest
import torch

from mimplug.draws import HashDraws, SampleKeys
from mimplug.errors import ConfigError
from mimplug.masking import ImageMasker

RECIPE = dict(type='mimplug.MixedMask', probs=(0.2, 0.24, 0.56), generators=(
    dict(type='FocalMask'), dict(type='SaliencyMask', cap=0.55),
    dict(type='SaliencyMask', cap=0.55, channelwise=True)))


def draws_of(index, views=(0,), rank=0):
    index = np.asarray(index)
    return HashDraws(0, 5, SampleKeys(0 * index, index, 0 * index), views,
                     rank)


def batch_of(rows, size=(28, 42)):
    noise = torch.Generator().manual_seed(0)
    return (torch.randn(rows, 3, *size, generator=noise),
            torch.rand(rows, 5, 6, generator=noise))


@pytest.mark.property
@pytest.mark.parametrize('batch', [1, 6])
def test_the_published_recipe(batch, no_sync):
    masker = ImageMasker(RECIPE, dict(type='mimplug.HighPassFill'))
    masker.check((28, 42))
    assert masker.needs.saliency
    images, saliency = batch_of(batch)
    with no_sync():
        masked, mask = masker(
            images, draws_of(range(batch)), saliency=saliency)
    assert masked.shape == images.shape
    assert mask.hidden.shape == (batch, 3, 28, 42)
    assert mask.cells == (7, 7)
    assert mask.num_kinds == 3
    assert set(mask.kind.tolist()) <= {0, 1, 2}
    assert (mask.lam > 0.5).all()


@pytest.mark.property
def test_two_processes_have_the_bits_of_one():
    masker = ImageMasker(RECIPE, dict(type='mimplug.NoiseFill'))
    images, saliency = batch_of(8)
    whole, mask = masker(images, draws_of(range(8)), saliency=saliency)
    assert len(set(mask.kind.tolist())) == 3
    for rank in range(2):
        own = slice(4 * rank, 4 * rank + 4)
        part, _ = masker(images[own], draws_of(range(8)[own], rank=rank),
                         saliency=saliency[own])
        assert torch.equal(part, whole[own])


@pytest.mark.property
def test_views_have_masks_of_their_own():
    masker = ImageMasker(dict(type='RandomMask', ratio=0.5),
                         dict(type='ConstantFill'), cells=(4, 6))
    images = torch.ones(6, 3, 28, 42)
    masked, mask = masker(
        images, draws_of(range(3), (0, 1)), num_views=2)
    assert (mask.hidden[:3] != mask.hidden[3:]).flatten(1).any(1).all()
    assert masked.sum() == 3 * 28 * 42 * 3
    second, _ = masker(images[:3], draws_of(range(3), (0, 1)).for_view(1))
    assert torch.equal(second, masked[3:])


@pytest.mark.unit
@pytest.mark.parametrize('generator, cells, message', [
    (dict(type='SaliencyMask'), 8, '28 x 42 pixels has no 8 x 8'),
    (RECIPE | dict(cells=5), 7, '28 x 42 pixels has no 5 x 5'),
    (dict(type='GridBlockMask'), (2, 2), 'fewer than 3 cells'),
])
def test_images_that_do_not_fit(generator, cells, message):
    masker = ImageMasker(generator, dict(type='MeanFill'), cells)
    with pytest.raises(ConfigError, match=message):
        masker.check((28, 42))


@pytest.mark.unit
def test_wrong_parts():
    mean = dict(type='MeanFill')
    with pytest.raises(ConfigError, match='AttentionMask needs attention'):
        ImageMasker(dict(type='AttentionMask'), mean)
    with pytest.raises(ConfigError, match='PartMask needs features'):
        ImageMasker(dict(type='PartMask'), mean)
    with pytest.raises(ConfigError, match='cells=0'):
        ImageMasker(RECIPE, mean, cells=0)
    with pytest.raises(ConfigError, match='kernel_size=31'):
        ImageMasker(RECIPE, dict(type='BlurFill')).check(14)
    with pytest.raises(ConfigError, match='needs saliency'):
        ImageMasker(RECIPE, mean)(torch.zeros(1, 3, 28, 28), draws_of([0]))
