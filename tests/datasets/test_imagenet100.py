"""The 100 classes, from folders and from lists."""
from __future__ import annotations

import pytest
from timm.data import ImageNetInfo

from mimplug.datasets import ImageNet100, KeyedDataset
from mimplug.datasets.imagenet100 import (
    IMAGENET100_NUMBERS,
    IMAGENET100_SYNSETS,
)
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


def write_classes(folder, names, images=2):
    """Empty files: nothing is decoded."""
    for name in names:
        (folder / name).mkdir(parents=True)
        for number in range(images):
            (folder / name / f'{name}_{number}.JPEG').touch()


def test_the_list_is_part_of_imagenet():
    synsets = ImageNetInfo().label_names()
    assert len(set(IMAGENET100_SYNSETS)) == 100
    assert list(IMAGENET100_SYNSETS) == sorted(IMAGENET100_SYNSETS)
    assert [synsets[i] for i in IMAGENET100_NUMBERS] == list(
        IMAGENET100_SYNSETS)


def test_folders_of_other_classes_are_left_out(tmp_path):
    write_classes(tmp_path / 'train',
                  [*IMAGENET100_SYNSETS, 'n00000001', 'n99999999'])
    data = KeyedDataset(dict(type='mimplug.ImageNet100',
                             data_root=str(tmp_path), split='train'))
    assert len(data) == 200
    found = [data.get_data_info(i) for i in range(len(data))]
    for info in found:
        assert IMAGENET100_SYNSETS[info['gt_label']] in info['img_path']
    assert [info['gt_label'] for info in found] == [
        label for label in range(100) for _ in range(2)]
    assert len(data.metainfo['classes']) == 100
    assert data.metainfo['classes'][0].startswith('robin')


def test_a_list_has_the_labels_of_imagenet(tmp_path):
    (tmp_path / 'meta').mkdir()
    lines = [f'ILSVRC2012_val_{i:08d}.JPEG {i}' for i in range(1000)]
    (tmp_path / 'meta/val.txt').write_text('\n'.join(lines))
    data = ImageNet100(data_root=str(tmp_path), split='val')
    assert len(data) == 100
    info = data.get_data_info(1)
    assert info['gt_label'] == 1
    assert info['img_path'].endswith(
        f'ILSVRC2012_val_{IMAGENET100_NUMBERS[1]:08d}.JPEG')


def test_what_is_missing_is_named(tmp_path):
    write_classes(tmp_path / 'train', IMAGENET100_SYNSETS[1:])
    with pytest.raises(ConfigError, match=r'1 of the 100.*n01558993'):
        ImageNet100(data_root=str(tmp_path), split='train')
    write_classes(tmp_path / 'train', IMAGENET100_SYNSETS[:1], images=0)
    with pytest.raises(ConfigError, match=r'1 of the 100.*n01558993'):
        ImageNet100(data_root=str(tmp_path), split='train')
    with pytest.raises(ConfigError, match='chosen by labels'):
        ImageNet100(data_root=str(tmp_path), split='test')
    (tmp_path / 'list.txt').write_text('a.JPEG 15\nb.JPEG 3')
    with pytest.raises(ConfigError, match='labels must be those'):
        ImageNet100(data_root=str(tmp_path), ann_file='list.txt')
