"""Which files go to which side."""
from __future__ import annotations

import pytest
from PIL import Image

from mimplug.datasets.composites import Source, split_sources
from mimplug.datasets.composites.sources import read_background, read_cutout
from mimplug.datasets.transforms import UnreadableImageError
from mimplug.errors import ConfigError


def named(*names):
    return [Source(name, f'/x/{name}') for name in names]


def sides(files, **kwargs):
    return [{one.name for one in split_sources(files, split, **kwargs)}
            for split in ('train', 'test')]


@pytest.mark.unit
@pytest.mark.parametrize('name, family', [
    ('a/rose1.png', 'rose'), ('a/rose-12.png', 'rose'),
    ('a/rose.png', 'rose'), ('a/DSC0012.png', 'DSC0012'),
    ('a/12.png', '12'), ('boeing747.png', 'boeing747')])
def test_families(name, family):
    assert named(name)[0].family == family


@pytest.mark.property
@pytest.mark.parametrize('share', [0.1, 0.25, 0.5])
def test_sides_are_disjoint_complete_and_of_the_right_size(share):
    files = named(*(f'{group}/{letter}{number or ""}.png'
                    for group in 'xyz' for letter in 'abcdefghij'
                    for number in range(2)))
    train, test = sides(files, test_share=share)
    assert not train & test
    assert len(train | test) == 60
    for group in 'xyz':
        part = {name for name in test if name[0] == group}
        # families have two files
        assert len(part) == int(20 * share) // 2 * 2
        assert not {name[2] for name in part} & {
            name[2] for name in train if name[0] == group}
    # other categories and the order of the files do not matter
    fewer = [one for one in files[::-1] if one.category != 'y']
    assert sides(fewer, test_share=share)[1] == {
        name for name in test if name[0] != 'y'}


@pytest.mark.unit
def test_both_sides_get_something():
    assert sides(named('a.png', 'b.png'))[1] in ({'a.png'}, {'b.png'})
    train, test = sides(named('a1.png', 'a2.png', 'a3.png', 'a4.png'))
    assert len(test) == 1
    assert len(train) == 3
    with pytest.raises(ConfigError, match='at least two files'):
        split_sources(named('a.png'), 'test')


@pytest.mark.unit
def test_folders_of_backgrounds_stay_together():
    files = named('park/a.png', 'park/b.png', 'c.png', 'd.png', 'e.png',
                  'f.png', 'g.png', 'h.png')
    for share in (0.3, 0.5):
        for side in sides(files, test_share=share, whole_folders=True):
            assert len({'park/a.png', 'park/b.png'} & side) in (0, 2)
    # the only folder there is has to be split
    train, test = sides(named('p/a.png', 'p/b.png', 'p/c.png', 'p/d.png'),
                        whole_folders=True)
    assert (len(train), len(test)) == (3, 1)


@pytest.mark.unit
def test_unusable_files_are_named(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    Image.new('RGBA', (9, 9)).save(tmp_path / 'b.png')
    with pytest.raises(UnreadableImageError, match=r'a\.png'):
        read_background(str(tmp_path / 'a.png'), 10)
    with pytest.raises(UnreadableImageError, match=r'b\.png.*nothing'):
        read_cutout(str(tmp_path / 'b.png'), 10)


@pytest.mark.unit
def test_large_files_are_shrunk(tmp_path):
    Image.new('RGB', (90, 60)).save(tmp_path / 'a.png')
    assert read_background(str(tmp_path / 'a.png'), 30).size == (45, 30)
    assert read_background(str(tmp_path / 'a.png'), 300).size == (90, 60)
    cut = Image.new('RGBA', (90, 60))
    cut.paste((1, 2, 3, 255), (20, 10, 70, 30))
    cut.save(tmp_path / 'b.png')
    assert read_cutout(str(tmp_path / 'b.png'), 100).size == (50, 20)
    assert read_cutout(str(tmp_path / 'b.png'), 25).size == (25, 10)
