"""COCO export."""
from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mimplug.datasets.composites import encode_rle, write_coco
from mimplug.errors import ConfigError

ROOT = Path(__file__).parents[3]


def decode(rle: dict) -> np.ndarray:
    """What the format says, one run after the other."""
    flat, value = [], False
    for count in rle['counts']:
        flat += [value] * count
        value = not value
    height, width = rle['size']
    return np.array(flat, dtype=bool).reshape(width, height).T


@pytest.mark.property
@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_run_lengths_come_back(share):
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (3, 7), (12, 5)):
        mask = rng.random(shape) < share
        assert np.array_equal(decode(encode_rle(mask)), mask)


@pytest.mark.unit
def test_files(make, tmp_path):
    dataset = make(split='test', num_samples=4)
    path = write_coco(dataset, tmp_path, semantic=True)
    content = json.loads(path.read_text())
    assert [one['name'] for one in content['categories']] == ['green', 'red']
    assert [one['id'] for one in content['annotations']] == list(
        range(1, len(content['annotations']) + 1))
    for image in content['images']:
        info = dataset.get_data_info(image['id'] - 1)
        name = image['file_name']
        pixels = np.asarray(Image.open(tmp_path / 'images' / name))
        assert np.array_equal(pixels, info['img'])
        classes = np.asarray(Image.open(tmp_path / 'semantic' / name))
        assert np.array_equal(classes, info['gt_seg_map'])
        own = [one for one in content['annotations']
               if one['image_id'] == image['id']]
        assert len(own) == len(info['gt_masks'])
        for one, mask in zip(own, info['gt_masks']):
            assert np.array_equal(decode(one['segmentation']), mask)
            assert one['area'] == mask.sum()
            x, y, width, height = map(int, one['bbox'])
            assert mask[y:y + height, x:x + width].sum() == mask.sum()
            assert (classes[mask] == one['category_id']).all()
    with pytest.raises(ConfigError, match="suffix='gif'"):
        write_coco(dataset, tmp_path, suffix='gif')


@pytest.mark.unit
def test_pycocotools_reads_it(make, tmp_path):
    coco = pytest.importorskip('pycocotools.coco')
    dataset = make(num_samples=3)
    api = coco.COCO(str(write_coco(dataset, tmp_path, suffix='jpg')))
    for one in api.dataset['annotations']:
        info = dataset.get_data_info(one['image_id'] - 1)
        own = [other['id'] for other in api.dataset['annotations']
               if other['image_id'] == one['image_id']]
        assert np.array_equal(api.annToMask(one).astype(bool),
                              info['gt_masks'][own.index(one['id'])])


@pytest.mark.unit
def test_script(sources, tmp_path, monkeypatch, capsys):
    def call(*args):
        monkeypatch.setattr(sys, 'argv', ['make_composites.py', *args])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(
                str(ROOT / 'tools/dataset_converters/make_composites.py'),
                run_name='__main__')
        return ended.value.code, capsys.readouterr()

    folders = ['--cutouts', sources[0], '--backgrounds', sources[1]]
    code, said = call(
        str(tmp_path), *folders, '--train', '2', '--test', '1', '--size',
        '40', '48', '--object-size', '10', '20', '--format', 'jpg')
    assert code == 0
    assert '2 images' in said.out
    assert len(list((tmp_path / 'train' / 'images').glob('*.jpg'))) == 2
    assert (tmp_path / 'test' / 'annotations.json').is_file()
    code, said = call(str(tmp_path), '--cutouts', str(tmp_path / 'none'))
    assert code == 1
    assert 'no such folder' in said.err
