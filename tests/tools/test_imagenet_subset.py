"""The list of a part of each class, from the command line."""
from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = (Path(__file__).resolve().parents[2] / 'tools'
          / 'dataset_converters' / 'imagenet_subset.py')
pytestmark = pytest.mark.unit


def test_both_rules_and_a_folder_that_is_too_small(
        tmp_path, monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', [
            str(SCRIPT), str(tmp_path / 'train'), str(out), *arguments])
        runpy.run_path(str(SCRIPT), run_name='__main__')
        return capsys.readouterr().out

    # nothing is decoded, so empty files will do
    for name, count in (('n02', 11), ('n01', 6)):
        folder = tmp_path / 'train' / name
        folder.mkdir(parents=True)
        for number in range(count):
            (folder / f'{name}_{number}.JPEG').touch()
        (folder / 'notes.txt').touch()
    out = tmp_path / 'meta' / 'list.txt'

    said = call('--share', '0.2')
    assert '3 images of 2 classes, 1 to 2 of each' in said
    # floor(0.2 * 6), floor(0.2 * 11); '10' sorts before '2'
    assert out.read_text() == (
        'n01/n01_0.JPEG 0\nn02/n02_0.JPEG 1\nn02/n02_1.JPEG 1\n')

    call('--per-class', '2', '--offset', '1')
    assert out.read_text().split() == [
        'n01/n01_1.JPEG', '0', 'n01/n01_2.JPEG', '0',
        'n02/n02_1.JPEG', '1', 'n02/n02_10.JPEG', '1']

    with pytest.raises(SystemExit, match='class 0 has 6 samples'):
        call('--per-class', '7')
    assert len(out.read_text().split()) == 8
