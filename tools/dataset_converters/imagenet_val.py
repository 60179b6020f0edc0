"""Sorts the 50,000 validation images of ImageNet into one folder a class.

    python tools/dataset_converters/imagenet_val.py data/imagenet/val \\
        --devkit ILSVRC2012_devkit_t12
    python tools/dataset_converters/imagenet_val.py data/imagenet/val \\
        --boxes ILSVRC2012_bbox_val_v3/val
    python tools/dataset_converters/imagenet_val.py data/imagenet/val \\
        --map my_map.txt --out other/val --mode link

The class of an image comes from the development kit (meta.mat needs scipy),
from the first object of its bounding-box XML, or from lines `file synset`.
An interrupted call can be repeated.
"""
from __future__ import annotations

import argparse
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from mimplug.datasets.class_folders import MODES, describe, place_files
from mimplug.errors import ConfigError

IMAGE = 'ILSVRC2012_val_{:08d}.JPEG'


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('val', type=Path, help='folder of the images')
    kind = parser.add_mutually_exclusive_group(required=True)
    for name, text in (('devkit', 'folder of the development kit'),
                       ('boxes', 'folder of XML files, one an image'),
                       ('map', 'file with lines `file synset`')):
        kind.add_argument(f'--{name}', type=Path, help=text)
    parser.add_argument('--out', type=Path,
                        help='folder of the classes; default: VAL')
    parser.add_argument('--mode', choices=MODES, default='move')
    return parser.parse_args()


def from_devkit(folder: Path) -> Iterator[tuple[str, str]]:
    """Image and synset by ground truth and meta.mat."""
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ConfigError(
            '--devkit reads meta.mat and needs scipy (pip install scipy); '
            '--boxes and --map do not') from error
    table = loadmat(folder / 'data' / 'meta.mat', squeeze_me=True)['synsets']
    names = {int(row['ILSVRC2012_ID']): str(row['WNID']) for row in table}
    truth = folder / 'data' / 'ILSVRC2012_validation_ground_truth.txt'
    for number, line in enumerate(truth.read_text().split(), 1):
        yield IMAGE.format(number), names[int(line)]


def from_boxes(folder: Path) -> Iterator[tuple[str, str]]:
    """Image and synset by the first object of each XML file."""
    files = sorted(folder.glob('*.xml'))
    if not files:
        raise ConfigError(f'{folder} has no XML files')
    for path in files:
        name = ET.parse(path).findtext('./object/name')
        if name is None:
            raise ConfigError(f'{path} names no object')
        yield f'{path.stem}.JPEG', name.strip()


def from_map(file: Path) -> Iterator[tuple[str, str]]:
    """Image and synset of each line."""
    for number, line in enumerate(file.read_text().splitlines(), 1):
        fields = line.split()
        if len(fields) != 2:
            raise ConfigError(
                f'{file}, line {number}: {line!r}; expected file and synset')
        yield fields[0], fields[1]


def main() -> None:
    """Finds the class of every image and sorts them."""
    args = parse_args()
    try:
        if args.devkit:
            named = from_devkit(args.devkit)
        elif args.boxes:
            named = from_boxes(args.boxes)
        else:
            named = from_map(args.map)
        out = args.out or args.val
        counts = place_files(
            ((args.val / file, synset) for file, synset in named), out,
            args.mode)
    except (ConfigError, FileNotFoundError) as error:
        raise SystemExit(str(error)) from error
    print(f'{out}: {describe(counts)}')


if __name__ == '__main__':
    main()
