"""Lists the first images of each class of a folder, `path label` a line.

    python tools/dataset_converters/imagenet_subset.py \\
        data/imagenet/train data/imagenet/meta/train_20pct.txt --share 0.2

FOLDER has one sub-folder a class. Classes are numbered in the order of their
names and images are taken in the order of theirs: floor(SHARE n) of n images
(--share, the rule of the masks thesis), or the same number of each class
(--per-class 260, AttMask's 20 %). Training needs no list, since
`mimplug.ClassSubset` applies the same rules. A list is for other programs, to
look at, and for `ImageNet(ann_file='meta/train_20pct.txt', split='train')`,
which then does not search the folders. Paths are relative to FOLDER.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from mmpretrain.datasets import CustomDataset

from mimplug.datasets import ClassSubset
from mimplug.datasets.subsets import list_lines
from mimplug.errors import ConfigError


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('out', type=Path)
    rule = parser.add_mutually_exclusive_group(required=True)
    rule.add_argument('--share', type=float, help='of each class, in (0, 1]')
    rule.add_argument('--per-class', type=int, metavar='N',
                      help='images of each class')
    parser.add_argument('--offset', type=int, default=0, metavar='N',
                        help='images of each class to leave out first')
    parser.add_argument('--num-classes', type=int, metavar='N',
                        help='stop unless there are as many, 1000 say')
    return parser.parse_args()


def main() -> None:
    """Writes the list and prints how many images of a class are in it."""
    args = parse_args()
    try:
        subset = ClassSubset(
            CustomDataset(data_root=str(args.folder)),
            share=args.share, per_class=args.per_class, offset=args.offset,
            num_classes=args.num_classes)
    except (ConfigError, FileNotFoundError) as error:
        raise SystemExit(f'{args.folder}: {error}') from error
    lines = list(list_lines(subset, args.folder))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text('\n'.join(lines) + '\n')
    counts = np.bincount([int(line.rsplit(' ', 1)[1]) for line in lines])
    print(f'{args.out}: {len(lines)} images of {len(counts)} classes, '
          f'{counts.min()} to {counts.max()} of each')


if __name__ == '__main__':
    main()
