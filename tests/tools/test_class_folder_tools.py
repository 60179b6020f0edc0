"""The tools that sort validation images and link ImageNet-100."""
from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from mimplug.datasets.class_folders import describe, place_files
from mimplug.datasets.imagenet100 import IMAGENET100_SYNSETS
from mimplug.errors import ConfigError

TOOLS = Path(__file__).resolve().parents[2] / 'tools' / 'dataset_converters'
pytestmark = pytest.mark.unit


@pytest.fixture
def call(monkeypatch, capsys):
    """Runs a tool and returns what it printed."""

    def run(name, *arguments):
        path = str(TOOLS / name)
        monkeypatch.setattr(sys, 'argv', [path, *map(str, arguments)])
        runpy.run_path(path, run_name='__main__')
        return capsys.readouterr().out

    return run


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob('*')
                  if path.is_file())


def write_imagenet(root: Path, names) -> None:
    for split in ('train', 'val'):
        for name in (*names, 'n00000001'):
            (root / split / name).mkdir(parents=True)
            for number in (1, 2):
                (root / split / name / f'{number}.JPEG').touch()


def test_imagenet100_links(call, tmp_path):
    source, out = tmp_path / 'imagenet', tmp_path / 'imagenet100'
    write_imagenet(source, IMAGENET100_SYNSETS)
    for _ in range(2):
        assert call('imagenet100.py', source, out).count('100 classes') == 2
    for split in ('train', 'val'):
        assert tuple(sorted(path.name for path in (out / split).iterdir())
                     ) == IMAGENET100_SYNSETS
    assert (out / 'val' / IMAGENET100_SYNSETS[3] / '2.JPEG').is_file()


def test_imagenet100_lists(call, tmp_path):
    source, out = tmp_path / 'imagenet', tmp_path / 'lists'
    write_imagenet(source, IMAGENET100_SYNSETS)
    assert call('imagenet100.py', source, out, '--lists').count('200') == 2
    lines = (out / 'train.txt').read_text().splitlines()
    assert lines[2] == f'{IMAGENET100_SYNSETS[1]}/1.JPEG 1'
    assert len(lines) == 200


def test_imagenet100_names_missing_classes(call, tmp_path):
    write_imagenet(tmp_path / 'imagenet', IMAGENET100_SYNSETS[:-2])
    with pytest.raises(SystemExit, match=r'2 of the 100.*n13037406'):
        call('imagenet100.py', tmp_path / 'imagenet', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_tiny_imagenet(call, tmp_path):
    val = tmp_path / 'val'
    (val / 'images').mkdir(parents=True)
    lines = []
    for number, name in enumerate(('n02', 'n01', 'n02')):
        (val / 'images' / f'val_{number}.JPEG').touch()
        lines.append(f'val_{number}.JPEG\t{name}\t0\t32\t44\t62')
    (val / 'val_annotations.txt').write_text('\n'.join(lines) + '\n')
    for _ in range(2):
        said = call('tiny_imagenet.py', tmp_path)
        assert '3 images of 2 classes, 1 to 2 of each' in said
    assert files(val) == [
        'n01/val_1.JPEG', 'n02/val_0.JPEG', 'n02/val_2.JPEG',
        'val_annotations.txt']
    assert not (val / 'images').exists()


def test_tiny_imagenet_without_an_image(call, tmp_path):
    val = tmp_path / 'val'
    (val / 'images').mkdir(parents=True)
    (val / 'images' / 'val_0.JPEG').touch()
    (val / 'val_annotations.txt').write_text(
        'val_0.JPEG\tn01\nval_1.JPEG\tn01\n')
    with pytest.raises(SystemExit, match=r'val_1.JPEG is missing'):
        call('tiny_imagenet.py', tmp_path)
    # nothing was moved
    assert (val / 'images' / 'val_0.JPEG').is_file()


def write_val(folder: Path) -> list[str]:
    names = [f'ILSVRC2012_val_{i:08d}.JPEG' for i in (1, 2, 3)]
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    return names


WANT = ['n01/ILSVRC2012_val_00000002.JPEG', 'n02/ILSVRC2012_val_00000001.JPEG',
        'n02/ILSVRC2012_val_00000003.JPEG']


def test_val_by_boxes(call, tmp_path):
    val, boxes = tmp_path / 'val', tmp_path / 'boxes'
    boxes.mkdir()
    for name, synset in zip(write_val(val), ('n02', 'n01', 'n02')):
        (boxes / f'{Path(name).stem}.xml').write_text(
            f'<annotation><folder>val</folder><object><name>{synset}</name>'
            '</object><object><name>n09</name></object></annotation>')
    said = call('imagenet_val.py', val, '--boxes', boxes)
    assert '3 images of 2 classes, 1 to 2 of each' in said
    assert files(val) == WANT


def test_val_by_devkit(call, tmp_path):
    scipy_io = pytest.importorskip('scipy.io')
    write_val(tmp_path / 'val')
    data = tmp_path / 'devkit' / 'data'
    data.mkdir(parents=True)
    kind = [('ILSVRC2012_ID', 'O'), ('WNID', 'O')]
    scipy_io.savemat(data / 'meta.mat', dict(synsets=np.array(
        [(7, 'n01'), (9, 'n02')], dtype=kind)))
    (data / 'ILSVRC2012_validation_ground_truth.txt').write_text('9\n7\n9\n')
    call('imagenet_val.py', tmp_path / 'val', '--devkit', tmp_path / 'devkit',
         '--out', tmp_path / 'out', '--mode', 'copy')
    assert files(tmp_path / 'out') == WANT
    assert len(files(tmp_path / 'val')) == 3


def test_val_by_map(call, tmp_path):
    names = write_val(tmp_path / 'val')
    lines = [f'{name} {synset}'
             for name, synset in zip(names, ('n02', 'n01', 'n02'))]
    (tmp_path / 'map.txt').write_text('\n'.join(lines))
    call('imagenet_val.py', tmp_path / 'val', '--map', tmp_path / 'map.txt',
         '--out', tmp_path / 'out', '--mode', 'link')
    assert files(tmp_path / 'out') == WANT
    assert (tmp_path / 'out' / WANT[0]).is_symlink()
    (tmp_path / 'map.txt').write_text('one_field')
    with pytest.raises(SystemExit, match='line 1'):
        call('imagenet_val.py', tmp_path / 'val', '--map',
             tmp_path / 'map.txt')


def test_a_class_must_be_a_name(tmp_path):
    (tmp_path / 'a.JPEG').touch()
    with pytest.raises(ConfigError, match='no class name'):
        place_files([(tmp_path / 'a.JPEG', '../up')], tmp_path)
    assert describe({}) == '0 images of 0 classes, 0 to 0 of each'
