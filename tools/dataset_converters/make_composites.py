"""Writes composites (cut-outs on photographs) as images and COCO json.

    python tools/fetch_assets.py tuxpaint-stamps mvtb-data
    python tools/dataset_converters/make_composites.py data/composites
    python tools/dataset_converters/make_composites.py data/mine \
        --cutouts my/objects --backgrounds my/photos --train 500 --test 100

Each of ``train`` and ``test`` gets ``images/``, ``annotations.json`` and,
with ``--semantic``, ``semantic/`` (0 background, then the classes). The
default cut-outs are GPL-2: use the pictures, do not pass them on.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mimplug.datasets.composites import Composites, write_coco
from mimplug.datasets.composites.coco import FORMATS
from mimplug.datasets.composites.dataset import BACKGROUNDS, CUTOUTS
from mimplug.errors import MimplugError


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('out', type=Path, help='folder to write to')
    parser.add_argument('--cutouts', default=CUTOUTS,
                        help=f'folder or asset; default: {CUTOUTS}')
    parser.add_argument('--backgrounds', default=BACKGROUNDS,
                        help=f'folder or asset; default: {BACKGROUNDS}')
    parser.add_argument('--train', type=int, default=1000, metavar='N',
                        help='training images; 0 for none')
    parser.add_argument('--test', type=int, default=200, metavar='N',
                        help='test images; 0 for none')
    for name, pair in (('size', (256, 320)), ('num-objects', (1, 4)),
                       ('object-size', (48, 160))):
        parser.add_argument(f'--{name}', type=int, nargs=2, default=pair,
                            metavar=('LOW', 'HIGH'))
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--format', choices=FORMATS, default='png')
    parser.add_argument('--semantic', action='store_true',
                        help='also write the class of each pixel')
    return parser.parse_args()


def main() -> int:
    """Writes both sides; 1 if a file or an asset is missing."""
    args = parse_args()
    try:
        for split in ('train', 'test'):
            if getattr(args, split) == 0:
                continue
            dataset = Composites(
                args.cutouts, args.backgrounds, split=split,
                num_samples=getattr(args, split), size=tuple(args.size),
                num_objects=tuple(args.num_objects),
                object_size=tuple(args.object_size), seed=args.seed)
            path = write_coco(dataset, args.out / split, suffix=args.format,
                              semantic=args.semantic)
            print(f'{path}: {len(dataset)} images, {len(dataset.cutouts)} '
                  f'objects, {len(dataset.backgrounds)} backgrounds')
    except MimplugError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
