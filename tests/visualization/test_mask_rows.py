"""Every generator can be drawn."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from mimplug.errors import ConfigError
from mimplug.masking import build_generator
from mimplug.visualization import (
    StandInInputs,
    example_generators,
    find_photos,
    generator_classes,
    load_photos,
    mask_rows,
    render_masks,
)
from mimplug.visualization.mask_grid import HIDDEN
from mimplug.visualization.mask_rows import always, settings_text


@pytest.fixture(scope='module')
def inputs():
    photos = load_photos(find_photos(limit=2), (84, 112))
    return StandInInputs(torch.from_numpy(photos), (6, 8))


@pytest.mark.property
@pytest.mark.parametrize('name', generator_classes())
def test_pictures_show_the_mask(inputs, name):
    for settings, generator in example_generators(name):
        generator = always(generator)
        views = getattr(generator, 'num_views', None) or 1
        rows = mask_rows(name, settings, generator, inputs, cell=96)
        mask = generator(inputs.context(generator, num_views=views))
        hidden = mask.hidden.unflatten(0, (views, 2)).numpy()
        assert len(rows) == views
        for row, cells in zip(rows, hidden):
            assert row.name.startswith(name)
            assert f'hidden {cells.mean():.0%}' in row.notes[-1]
            if generator.pixels:
                cells = cells[..., 7::14, 7::14]
            for picture, own in zip(row.pictures, cells):
                assert picture.shape == (84, 112, 3)
                middle = picture[7::14, 7::14].astype(float)
                grey = np.abs(middle - HIDDEN) <= 0.08 * 255
                own = np.broadcast_to(np.moveaxis(own, 0, -1), grey.shape)
                assert grey[own].all()
        if generator.drops:
            assert 'dropped' in rows[0].notes[-1]


@pytest.mark.unit
def test_the_whole_gallery_and_what_does_not_fit(inputs):
    pair = [('SimMIMMask', 'x', build_generator(dict(
        type='SimMIMMask', ratio=0.5, cell=cell))) for cell in (2, 5)]
    both = render_masks(pair, inputs, cell=96, title='Title')
    fitting = render_masks(pair[:1], inputs, cell=96, title='Title')
    # no row, but a line of text that says why
    assert 0 < both.shape[0] - fitting.shape[0] < 72
    with pytest.raises(ConfigError):
        render_masks(pair[1:], inputs)
    # the attention is drawn where it is used
    used = render_masks([('A', '', build_generator(dict(
        type='AttentionMask')))], inputs, cell=96, title='Title')
    assert used.shape[0] > fitting.shape[0] + 70


@pytest.mark.unit
def test_settings_in_words():
    assert settings_text({}) == 'defaults'
    assert settings_text(dict(
        mode='low', score=dict(type='mimplug.LogScore', layer=3),
        ratio=(0.3, 0.2), x=dict(type='NoMask'))) == (
            "mode='low', score=LogScore(layer=3), ratio=(0.3, 0.2), "
            'x=NoMask()')
    with pytest.raises(ConfigError, match="did you mean 'RandomMask'"):
        example_generators('RandmMask')


@pytest.mark.unit
def test_photos(tmp_path):
    for name, size in (('b.png', (60, 20)), ('sub/a.jpg', (20, 60))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image = np.zeros((size[1], size[0], 3), np.uint8)
        image[size[1] // 2 - 5:size[1] // 2 + 5,
              size[0] // 2 - 5:size[0] // 2 + 5] = 255
        Image.fromarray(image).save(tmp_path / name, quality=95)
    (tmp_path / 'notes.txt').write_text('')
    paths = find_photos([str(tmp_path)])
    assert [path.name for path in paths] == ['b.png', 'a.jpg']
    assert len(find_photos([str(tmp_path / 'b.png'), str(tmp_path)])) == 3
    assert len(find_photos([str(tmp_path)], limit=1)) == 1
    photos = load_photos(paths, (20, 30))
    assert photos.shape == (2, 3, 20, 30)
    # the middle is kept, without distortion
    assert photos[0, :, 10, 15].min() > 0.9
    assert photos[1, :, 10, 15].min() > 0.9
    assert photos[0, 0, 10].sum() == pytest.approx(10, abs=1.5)
    (tmp_path / 'b.png').write_bytes(b'none')
    with pytest.raises(ConfigError, match=r'b\.png'):
        load_photos(paths, (8, 8))
    for wrong in (tmp_path / 'none', tmp_path / 'empty'):
        (tmp_path / 'empty').mkdir(exist_ok=True)
        with pytest.raises(ConfigError, match='--images'):
            find_photos([str(wrong)])


@pytest.mark.unit
def test_photographs_of_the_package():
    assert [path.stem for path in find_photos()] == [
        'astronaut', 'chelsea', 'coffee', 'rocket']
    assert load_photos(find_photos(), (64, 64)).std() > 0.1
