"""Decoding of every kind of file, padding, damaged files."""
from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFile
from toy_images import picture

from mimplug.datasets import LoadView, UnreadableImageError
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


def load(path, **kwargs):
    return LoadView(**kwargs)(dict(img_path=str(path)))


@pytest.mark.parametrize('mode, suffix', [
    ('RGB', 'png'), ('L', 'png'), ('P', 'png'), ('RGBA', 'png'),
    ('LA', 'png'), ('1', 'png'), ('CMYK', 'jpg'), ('L', 'jpg'),
    ('RGB', 'bmp'), ('RGB', 'webp')])
def test_every_mode_becomes_rgb(tmp_path, mode, suffix):
    path = tmp_path / f'image.{suffix}'
    Image.fromarray(picture()).convert(mode).save(path)
    results = load(path)
    with Image.open(path) as image:
        expected = np.asarray(image.convert('RGB'))
    assert results['img'].dtype == np.uint8
    assert np.array_equal(results['img'], expected)
    assert results['ori_shape'] == results['img_shape'] == (40, 50)


def test_rgb_order_is_red_first(tmp_path):
    Image.new('RGB', (4, 4), (200, 10, 30)).save(tmp_path / 'red.png')
    assert load(tmp_path / 'red.png')['img'][0, 0].tolist() == [200, 10, 30]


@pytest.mark.parametrize('shape', [(28, 28), (28, 28, 1), (28, 28, 3)])
def test_images_in_memory_and_padding(shape):
    image = np.random.RandomState(0).randint(1, 256, shape, dtype=np.uint8)
    results = LoadView(pad_to=32, pad_value=7)(dict(img=image))
    padded = results['img']
    assert padded.shape == (32, 32, 3)
    assert results['ori_shape'] == (32, 32)
    inside = padded[2:30, 2:30]
    assert np.array_equal(inside, np.broadcast_to(
        image.reshape(28, 28, -1), (28, 28, 3)))
    border = padded.copy()
    border[2:30, 2:30] = 7
    assert (border == 7).all()
    # only the short side grows, the odd pixel goes behind
    wide = LoadView(pad_to=32)(dict(img=image[:25, :].repeat(2, axis=1)))
    assert wide['img'].shape == (32, 56, 3)
    assert wide['img'][3:28].any(axis=(1, 2)).all()
    assert not wide['img'][:3].any()


def test_truncated_files_only_if_allowed(tmp_path):
    path = tmp_path / 'image.jpg'
    Image.fromarray(picture(200, 160)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[:len(data) * 2 // 3])
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    with pytest.raises(UnreadableImageError, match=str(path)):
        load(path)
    image = load(path, truncated=True)['img']
    assert image.shape == (160, 200, 3)
    assert image[:20].std() > 0
    assert before == ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.mark.parametrize('content', [b'', b'text', b'\x89PNG\r\n\x1a\nxx'])
def test_unreadable_files_are_named(tmp_path, content):
    path = tmp_path / 'image.png'
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError, match=str(path)):
        load(path, truncated=True)
    with pytest.raises(UnreadableImageError, match='missing'):
        load(tmp_path / 'missing.png')


@pytest.mark.parametrize('image', [
    np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8),
    np.zeros(4, np.uint8)])
def test_arrays_that_are_no_images(image):
    with pytest.raises(ConfigError, match='the data set gives'):
        LoadView()(dict(img=image))
    with pytest.raises(ConfigError, match='pad_to=0'):
        LoadView(pad_to=0)


@pytest.mark.parametrize('suffix', ['jpg', 'png'])
@pytest.mark.parametrize('limit, factor', [
    (None, 1), (81, 1), (80, 2), (41, 2), (40, 4), (20, 8), (3, 8)])
def test_large_files_are_read_smaller(tmp_path, suffix, limit, factor):
    path = tmp_path / f'image.{suffix}'
    whole = Image.fromarray(picture(240, 160))
    whole.save(path, **(dict(quality=95) if suffix == 'jpg' else {}))
    results = load(path, shrink_to=limit)
    shape = (160 // factor, 240 // factor)
    assert results['img'].shape == (*shape, 3)
    assert results['ori_shape'] == results['img_shape'] == shape
    want, got = (np.asarray(image.resize((30, 20), Image.Resampling.BOX))
                 for image in (whole, Image.fromarray(results['img'])))
    assert np.abs(got.astype(float) - want).mean() < 2


def test_wrong_limit_of_the_size():
    with pytest.raises(ConfigError, match='shrink_to=0'):
        LoadView(shrink_to=0)
