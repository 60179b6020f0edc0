"""The first samples of each class."""
from __future__ import annotations

import numpy as np
import pytest
from toy_images import ArrayDataset, write_folder

from mimplug.datasets import ClassSubset, KeyedDataset, LoadView, PackViews
from mimplug.datasets.keyed import build_dataset
from mimplug.datasets.subsets import list_lines, take_per_class
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit

LABELS = [2, 0, 0, 1, 2, 0, 1, 2, 0, 1]


def by_hand(labels, count, offset=0):
    picked = []
    for i, label in enumerate(labels):
        place = labels[:i].count(label)
        if offset <= place < offset + count[label]:
            picked.append(i)
    return picked


@pytest.mark.parametrize('per_class, offset', [(1, 0), (2, 0), (2, 1)])
def test_counts_and_order(per_class, offset):
    found = take_per_class(np.array(LABELS), per_class=per_class,
                           offset=offset)
    assert found.tolist() == by_hand(LABELS, [per_class] * 3, offset)


def test_share_is_rounded_down():
    found = take_per_class(np.array(LABELS), share=0.7)
    # 4, 3, 3 images: 2.8, 2.1, 2.1
    assert found.tolist() == by_hand(LABELS, [2, 2, 2])
    labels = np.zeros(100, int)
    assert len(take_per_class(labels, share=0.29)) == 29
    labels = np.repeat(np.arange(3), 1300)
    assert len(take_per_class(labels, share=0.2)) == 3 * 260


def test_random_labels_agree_with_counting():
    labels = np.random.RandomState(0).randint(0, 5, 200).tolist()
    found = take_per_class(np.array(labels), per_class=7, offset=3)
    assert found.tolist() == by_hand(labels, [7] * 5, 3)


def test_folder_order_and_keyed_wrapper(tmp_path):
    write_folder(tmp_path, classes=3, images=4)
    subset = dict(
        type='mimplug.ClassSubset', per_class=2, num_classes=3,
        dataset=dict(type='CustomDataset', data_root=str(tmp_path)))
    data = KeyedDataset(subset, [LoadView(), PackViews()])
    paths = ['/'.join(data[i]['data_samples'].img_path.split('/')[-2:])
             for i in range(len(data))]
    assert paths == [f'class_{c}/{i}.png' for c in range(3) for i in range(2)]
    assert data.get_cat_ids(2) == [1]
    assert data.metainfo['classes'] == ('class_0', 'class_1', 'class_2')
    assert data[3]['data_samples'].sample_idx == 3


def test_lazy_subset_reads_when_needed():
    data = ClassSubset(ArrayDataset(lazy_init=True, labels=LABELS),
                       per_class=1, lazy_init=True)
    assert len(data) == 3
    assert data[1]['gt_label'] == LABELS[1]


def test_first_by_name_in_the_order_of_a_list(tmp_path):
    names = ['a/3.png 0', 'b/1.png 1', 'a/10.png 0', 'b/0.png 1', 'a/2.png 0']
    (tmp_path / 'list.txt').write_text('\n'.join(names))
    listed = dict(type='CustomDataset', data_root=str(tmp_path),
                  ann_file='list.txt')
    data = ClassSubset(listed, share=0.67)
    # 'a': 2 of 3, 'b': 1 of 2; '10' sorts before '2'
    assert list(list_lines(data, tmp_path)) == [
        'a/10.png 0', 'b/0.png 1', 'a/2.png 0']
    assert list(list_lines(ClassSubset(listed, per_class=1, offset=1),
                           tmp_path)) == ['b/1.png 1', 'a/2.png 0']


def test_a_list_is_read_back_by_the_stock_data_set(tmp_path):
    write_folder(tmp_path / 'train', classes=3, images=5, suffix='.JPEG')
    data = ClassSubset(dict(type='ImageNet', data_root=str(tmp_path),
                            split='train', metainfo=dict(classes=None)),
                       share=0.5)
    (tmp_path / 'meta').mkdir()
    lines = list(list_lines(data, tmp_path / 'train'))
    (tmp_path / 'meta/fifth.txt').write_text('\n'.join(lines) + '\n')
    again = build_dataset(dict(
        type='ImageNet', data_root=str(tmp_path), split='train',
        ann_file='meta/fifth.txt'))
    assert [again.get_data_info(i)['img_path'] for i in range(6)] == [
        data.get_data_info(i)['img_path'] for i in range(6)]
    assert [again.get_cat_ids(i) for i in range(6)] == [
        data.get_cat_ids(i) for i in range(6)]
    with pytest.raises(ConfigError, match='does not lie in'):
        list(list_lines(data, tmp_path / 'val'))


@pytest.mark.parametrize('kwargs, message', [
    (dict(), 'exactly one'),
    (dict(per_class=1, share=0.5), 'exactly one'),
    (dict(per_class=0), 'per_class=0'),
    (dict(share=1.5), 'share=1.5'),
    (dict(per_class=4), 'class 1 has 3 samples'),
    (dict(per_class=2, offset=2), 'class 1 has 3 samples'),
    (dict(share=0.3), 'class 1 has 3 samples'),
    (dict(per_class=1, num_classes=1000), '3 classes'),
    (dict(per_class=1, offset=-1), 'offset=-1'),
])
def test_wrong_settings(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        ClassSubset(ArrayDataset(labels=LABELS), **kwargs)


def test_unlabelled_data_is_refused(tmp_path):
    write_folder(tmp_path)
    folder = dict(type='CustomDataset', data_root=str(tmp_path),
                  with_label=False)
    with pytest.raises(ConfigError, match='one label'):
        ClassSubset(folder, per_class=1)
