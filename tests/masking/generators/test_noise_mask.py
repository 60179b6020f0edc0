"""ColorMAE: filters and what they select."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from mimplug.errors import ConfigError
from mimplug.masking import ColorNoiseMask
from mimplug.masking.generators.noise import blur, blur_matrix, crop, radius_of

pytestmark = pytest.mark.unit


def test_blur_is_scipys_gaussian():
    noise = torch.rand(2, 20, 17, dtype=torch.float64)
    radius = radius_of(1.3)
    expected = noise.numpy()
    for axis in (1, 2):
        expected = gaussian_filter1d(expected, 1.3, axis, radius=radius)
    inner = expected[:, radius:-radius, radius:-radius]
    torch.testing.assert_close(blur(noise, 1.3), torch.from_numpy(inner))
    assert crop(noise, 1.3).shape == inner.shape


def test_blur_keeps_the_mean():
    assert np.allclose(blur_matrix(5, 0.7).sum(1), 1)


def agreement(color, make_context):
    """Share of neighbours of one kind, for noise of a colour."""
    context = make_context(batch=100, views=1, grid=(14, 14))
    hidden = ColorNoiseMask(color, 0.5)(context).hidden[:, 0]
    return (hidden[..., 1:] == hidden[..., :-1]).float().mean().item()


def test_colours_differ_in_the_size_of_their_blobs(make_context):
    red, green, purple, blue = (
        agreement(color, make_context)
        for color in ('red', 'green', 'purple', 'blue'))
    # white noise has 0.497: exactly half of the tokens are hidden
    assert blue < purple < 0.48 < green < red


def test_red_and_blue_add_up_to_the_noise(make_context):
    context = make_context(batch=3, grid=(4, 5))
    red, blue = (ColorNoiseMask(color, sigma=0.8).scores(context)
                 for color in ('red', 'blue'))
    white = context.draws.uniform('noise', 10, 11, device='cpu').double()
    torch.testing.assert_close(
        red + blue, white[:, 3:-3, 3:-3].flatten(1))


def test_green_and_purple_add_up_to_the_noise(make_context):
    context = make_context(batch=3, grid=(4, 5))
    green, purple = (
        ColorNoiseMask(color, sigma=0.3, sigma_wide=0.6).scores(context)
        for color in ('green', 'purple'))
    white = context.draws.uniform('noise', 10, 11, device='cpu').double()
    torch.testing.assert_close(
        green + purple, white[:, 3:-3, 3:-3].flatten(1))
    low = blur(white, 0.3)
    band = crop(low, 0.6) - blur(low, 0.6)
    torch.testing.assert_close(green, band.flatten(1))


def test_the_largest_values_stay_visible(make_context):
    context = make_context(batch=4, grid=(6, 6))
    generator = ColorNoiseMask()
    hidden = generator(context).tokens
    scores = generator.scores(context)
    assert (hidden.sum(1) == 27).all()
    worst = scores.masked_fill(hidden, 9).amin(1)
    assert (worst >= scores.masked_fill(~hidden, -9).amax(1)).all()


def test_wrong_settings():
    with pytest.raises(ConfigError, match="did you mean 'green'"):
        ColorNoiseMask('grean')
    with pytest.raises(ConfigError, match='sigma_wide'):
        ColorNoiseMask(sigma=2.0, sigma_wide=1.0)
