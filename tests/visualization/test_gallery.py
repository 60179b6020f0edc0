"""Galleries: where pictures and words stand."""
from __future__ import annotations

import numpy as np
import pytest

from mimplug.errors import ConfigError
from mimplug.visualization import GalleryRow, overlay_hidden, render_gallery
from mimplug.visualization.gallery import LABEL_WIDTH
from mimplug.visualization.mask_grid import DROPPED, GAP, HIDDEN, MARGIN


def flat(level, size=(40, 60)):
    return np.full((*size, 3), level, np.uint8)


def row(*levels, name='name', notes=()):
    return GalleryRow(name, notes, [flat(level) for level in levels])


@pytest.mark.unit
def test_places_of_the_pictures():
    picture = render_gallery([row(10, 20, 30), row(40, 50, 60)],
                             labels=False)
    assert picture.dtype == np.uint8
    assert picture.shape == (2 * 40 + GAP + 2 * MARGIN,
                             3 * 60 + 2 * GAP + 2 * MARGIN, 3)
    for line, levels in enumerate(((10, 20, 30), (40, 50, 60))):
        for column, level in enumerate(levels):
            top = MARGIN + line * (40 + GAP)
            left = MARGIN + column * (60 + GAP)
            part = picture[top:top + 40, left:left + 60]
            assert (part == level).all()


def ink(picture, *, left):
    """Number of pixels that are neither white nor a picture's."""
    return int((picture[:, :left] < 200).any(-1).sum())


@pytest.mark.unit
def test_words_are_written_and_wrapped():
    left = MARGIN + LABEL_WIDTH
    plain = render_gallery([row(0, name='')])
    named = render_gallery([row(0, name='AttentionMask')])
    assert ink(named, left=left) > ink(plain, left=left)
    text = 'word ' * 100
    long = render_gallery([row(0, notes=(text, ))], title='A title')
    # text pushes the next row down and never runs into the pictures
    assert long.shape[0] > named.shape[0] + 100
    top = np.flatnonzero((long[:, left + 5] == 0).all(-1))
    assert len(top) == 40
    assert ink(long, left=left) > ink(named, left=left) + 1000
    assert (long[:, left - GAP:left] > 150).all()


@pytest.mark.unit
def test_legend_names_the_colours_that_occur():
    def has(picture, colour):
        return bool((picture == colour.astype(np.uint8)).all(-1).any())

    without = render_gallery([row(0)])
    both = render_gallery([row(0)], dropped=True)
    assert has(without, HIDDEN)
    assert not has(without, DROPPED)
    assert has(both, HIDDEN)
    assert has(both, DROPPED)


@pytest.mark.unit
@pytest.mark.parametrize('rows', [
    [], [row(0), row(0, 1)],
    [row(0), GalleryRow('x', (), [flat(0, (30, 30))])]])
def test_pictures_that_do_not_fit_are_refused(rows):
    with pytest.raises(ConfigError, match='equally many'):
        render_gallery(rows)


@pytest.mark.unit
def test_dropped_patches_have_a_colour_of_their_own():
    picture = flat(250, (30, 50))
    hidden, dropped = np.zeros((2, 3, 5), bool)
    hidden[0, 0], dropped[2, 4] = True, True
    drawn = overlay_hidden(picture, hidden, dropped).astype(int)
    for (y, x), colour in (((5, 5), HIDDEN), ((25, 45), DROPPED)):
        assert np.abs(drawn[y, x] - colour).max() < 20
    assert (drawn[5, 45] == 250).all()


@pytest.mark.unit
def test_masks_of_single_channels():
    picture = flat(250, (20, 20))
    hidden = np.zeros((3, 2, 2), bool)
    hidden[0, 0, 0] = hidden[2] = True
    changed = overlay_hidden(picture, hidden) != 250
    assert np.array_equal(changed[5, 5], [True, False, True])
    assert np.array_equal(changed[5, 15], [False, False, True])
