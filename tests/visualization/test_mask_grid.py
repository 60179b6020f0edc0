"""Pictures: sizes, colours, what covers what."""
import numpy as np
import pytest

from mimplug.errors import ConfigError
from mimplug.visualization import (
    overlay_heat,
    overlay_hidden,
    render_mask_grid,
)
from mimplug.visualization.mask_grid import GAP, HEAT_COLOURS, MARGIN


def images(count, size=(32, 32), channels=3):
    return np.random.RandomState(0).rand(count, channels, *size)


def cells(count, grid=(4, 4)):
    return np.random.RandomState(1).rand(count, *grid)


@pytest.mark.unit
@pytest.mark.parametrize('attention, columns', [(True, 3), (False, 2)])
@pytest.mark.parametrize('views', [1, 2, 3])
def test_size(attention, columns, views):
    maps = cells(2 * views)
    picture = render_mask_grid(
        images(2 * views), maps if attention else None, maps > 0.5,
        num_views=views, cell=100)
    side = 128  # four times 32
    width = 2 * MARGIN + views * columns * (side + GAP) - GAP + (
        views - 1) * 2 * GAP
    assert picture.dtype == np.uint8
    assert picture.shape[1:] == (width, 3)
    assert picture.shape[0] > 2 * side + GAP


@pytest.mark.unit
def test_places_of_images_and_views():
    # four flat images: view 0 of two images, then view 1 of them
    levels = np.array([0.2, 0.4, 0.6, 0.8])
    flat = np.ones((4, 1, 8, 8)) * levels[:, None, None, None]
    picture = render_mask_grid(flat, None, np.zeros((4, 2, 2), bool),
                               num_views=2, cell=8)
    bottom, right = picture.shape[0] - MARGIN - 4, picture.shape[1]
    left = MARGIN + 4
    expected = (levels * 255).round()
    assert picture[bottom - 8 - GAP, left, 0] == expected[0]
    assert picture[bottom, left, 0] == expected[1]
    assert picture[bottom - 8 - GAP, right - left, 0] == expected[2]
    assert picture[bottom, right - left, 0] == expected[3]


@pytest.mark.unit
@pytest.mark.parametrize('size, grid', [
    ((33, 20), (5, 3)), ((8, 8), (8, 8)), ((7, 7), (2, 2)), ((1, 1), (1, 1))])
def test_hidden_patches_and_nothing_else_change(size, grid):
    picture = np.full((*size, 3), 250, np.uint8)
    hidden = cells(1, grid)[0] > 0.4
    covered = (overlay_hidden(picture, hidden) != 250).any(-1)
    rows = np.arange(size[0]) * grid[0] // size[0]
    columns = np.arange(size[1]) * grid[1] // size[1]
    assert (covered == hidden[rows[:, None], columns]).all()


@pytest.mark.unit
def test_heat_runs_from_dark_to_yellow():
    black = np.zeros((4, 4, 3), np.uint8)
    heat = overlay_heat(black, np.array([[3.0, 4.0], [5.0, 7.0]]))
    ends = (HEAT_COLOURS[[0, -1]] * 0.65).round()
    assert (heat[0, 0] == ends[0]).all()
    assert (heat[3, 3] == ends[1]).all()
    brightness = heat.sum(-1)[::2, ::2].ravel()
    assert (np.diff(brightness) > 0).all()
    constant = overlay_heat(black, np.ones((2, 2)))
    assert (constant == heat[0, 0]).all()


@pytest.mark.unit
@pytest.mark.parametrize('changes, text', [
    (dict(images=np.zeros((4, 2, 8, 8))), r'images \(4, 2, 8, 8\)'),
    (dict(images=np.zeros((0, 3, 8, 8))), '0 images'),
    (dict(num_views=3), '4 images are no 3 views'),
    (dict(num_views=0), 'no 0 views'),
    (dict(hidden=np.zeros((3, 2, 2), bool)), r'hidden \(3, 2, 2\): \(4,'),
    (dict(attention=np.zeros((4, 1, 2, 2))), r'attention \(4, 1, 2, 2\)'),
])
def test_bad_input(changes, text):
    data = dict(images=images(4), attention=cells(4),
                hidden=cells(4) > 0.5) | changes
    with pytest.raises(ConfigError, match=text):
        render_mask_grid(**data)
