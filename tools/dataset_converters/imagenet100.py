"""Makes an ImageNet-100 folder out of an ImageNet folder.

    python tools/dataset_converters/imagenet100.py \\
        data/imagenet data/imagenet100
    python tools/dataset_converters/imagenet100.py \\
        data/imagenet data/imagenet100 --lists

OUT/train and OUT/val get symbolic links to the 100 class folders, or with
--lists OUT/train.txt and OUT/val.txt lines `class/file label`, labels 0 to
99. The configs do not need either: `mimplug.ImageNet100` reads the 100
classes out of data/imagenet. The folder is for other programs.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from mimplug.datasets.imagenet100 import IMAGENET100_SYNSETS

SPLITS = ('train', 'val')
IMAGES = ('.jpg', '.jpeg', '.png')


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('imagenet', type=Path,
                        help='has train/<synset>/ and val/<synset>/')
    parser.add_argument('out', type=Path)
    parser.add_argument('--lists', action='store_true',
                        help='write lists instead of links')
    return parser.parse_args()


def check(folder: Path) -> None:
    """Ends the program unless all 100 classes are there."""
    missing = [name for name in IMAGENET100_SYNSETS
               if not (folder / name).is_dir()]
    if missing:
        raise SystemExit(
            f'{folder}: {len(missing)} of the 100 classes are missing, e.g. '
            f'{", ".join(missing[:3])} (a val folder without class folders: '
            'run imagenet_val.py first)')


def link(source: Path, target: Path) -> None:
    """Links the class folders; those that are there already stay."""
    target.mkdir(parents=True, exist_ok=True)
    for name in IMAGENET100_SYNSETS:
        place = target / name
        if not place.exists():
            place.symlink_to((source / name).resolve(),
                             target_is_directory=True)


def write_list(source: Path, target: Path) -> int:
    """Writes `class/file label` of every image; returns their number."""
    lines = [
        f'{name}/{path.name} {label}'
        for label, name in enumerate(IMAGENET100_SYNSETS)
        for path in sorted((source / name).iterdir())
        if path.suffix.lower() in IMAGES]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text('\n'.join(lines) + '\n')
    return len(lines)


def main() -> None:
    """Checks both splits, then writes."""
    args = parse_args()
    for split in SPLITS:
        check(args.imagenet / split)
    for split in SPLITS:
        source = args.imagenet / split
        if args.lists:
            path = args.out / f'{split}.txt'
            print(f'{path}: {write_list(source, path)} images')
        else:
            link(source, args.out / split)
            print(f'{args.out / split}: 100 classes linked')


if __name__ == '__main__':
    main()
