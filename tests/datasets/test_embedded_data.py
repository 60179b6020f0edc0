"""The images inside the package, and the script that cut them out."""
from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mmpretrain.datasets import FashionMNIST

from mimplug.datasets import EmbeddedFashionMNIST, embedded_root
from mimplug.datasets.assets import asset_path
from mimplug.errors import ConfigError

SCRIPT = (Path(__file__).parents[2] / 'tools' / 'dataset_converters'
          / 'make_fashion_mnist_subset.py')


@pytest.mark.unit
@pytest.mark.filterwarnings('ignore:The given NumPy array is not writable')
@pytest.mark.parametrize('split, size, low, high', [
    ('train', 2000, 186, 216), ('test', 1000, 87, 115)])
def test_mmpretrain_reads_the_subset(split, size, low, high):
    # counts: the first images of the originals, measured when it was chosen
    stock = FashionMNIST(
        data_root=str(embedded_root('fashion_mnist_subset')), split=split,
        test_mode=split == 'test', download=False)
    ours = EmbeddedFashionMNIST(split=split)
    assert len(stock) == len(ours) == size
    counts = np.bincount(ours.get_gt_labels())
    assert (counts.min(), counts.max(), len(counts)) == (low, high, 10)
    for index in (0, size - 1):
        one, two = stock.get_data_info(index), ours.get_data_info(index)
        assert np.array_equal(one['img'], two['img'])
        assert one['img'].shape == (28, 28)
        assert one['gt_label'] == two['gt_label']
    assert ours.metainfo['classes'][0] == 'T-shirt/top'


@pytest.mark.unit
def test_licence_stands_beside_the_data():
    text = (embedded_root('fashion_mnist_subset') / 'LICENSE').read_text()
    assert 'Zalando SE' in text
    assert 'MIT License' in text


@pytest.mark.unit
def test_wrong_names():
    with pytest.raises(ConfigError, match="did you mean 'fashion_mnist_sub"):
        embedded_root('fashion_mnist')
    with pytest.raises(ConfigError, match="did you mean 'test'"):
        EmbeddedFashionMNIST(split='tset')


def run_script(full, out, *args):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(full), str(out), *args],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in folder.glob('*-ubyte')}


@pytest.mark.unit
def test_script_keeps_the_first_images(tmp_path):
    root = embedded_root('fashion_mnist_subset')
    packed = tmp_path / 'packed'
    packed.mkdir()
    for path in root.glob('*-ubyte'):
        (packed / f'{path.name}.gz').write_bytes(
            gzip.compress(path.read_bytes()))
    said = run_script(packed, tmp_path / 'all')
    assert 'train: 2000 images' in said
    assert files(tmp_path / 'all') == files(root)
    run_script(root, tmp_path / 'few', '--train', '30', '--test', '20')
    few = FashionMNIST(data_root=str(tmp_path / 'few'), download=False)
    whole = EmbeddedFashionMNIST()
    assert len(few) == 30
    assert np.array_equal(few.get_data_info(29)['img'],
                          whole.get_data_info(29)['img'])


@pytest.mark.full
@pytest.mark.asset('fashion-mnist')
def test_subset_is_the_head_of_the_full_data(tmp_path):
    run_script(asset_path('fashion-mnist'), tmp_path)
    assert files(tmp_path) == files(embedded_root('fashion_mnist_subset'))
