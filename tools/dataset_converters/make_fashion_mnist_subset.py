"""Cuts the embedded subset out of the full Fashion-MNIST.

    python tools/fetch_assets.py fashion-mnist
    python tools/dataset_converters/make_fashion_mnist_subset.py FULL OUT

FULL holds the four original idx files, with or without ``.gz``; OUT receives
the first images of each split in the same format, uncompressed, under the
names that MMPretrain's ``FashionMNIST`` reads.
"""
from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np

SPLITS = dict(train='train', t10k='test')


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an idx file, plain or gzipped.

    An idx file starts with two zero bytes, the type (8: uint8), the number
    of axes, and each axis' length as a big-endian 32-bit integer.
    """
    packed = path.with_name(path.name + '.gz')
    data = (path.read_bytes() if path.is_file()
            else gzip.decompress(packed.read_bytes()))
    if data[:3] != b'\x00\x00\x08':
        raise SystemExit(f'{path}: not an idx file of bytes')
    axes = data[3]
    shape = np.frombuffer(data, '>u4', count=axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes a uint8 array as an idx file."""
    header = bytes([0, 0, 8, array.ndim])
    lengths = np.array(array.shape, dtype='>u4').tobytes()
    path.write_bytes(header + lengths + array.tobytes())


def main() -> None:
    """Reads the full files, writes the subset, prints the class counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('full', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--train', type=int, default=2000, metavar='N')
    parser.add_argument('--test', type=int, default=1000, metavar='N')
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for prefix, split in SPLITS.items():
        count = getattr(args, split)
        for kind in ('images-idx3', 'labels-idx1'):
            name = f'{prefix}-{kind}-ubyte'
            part = read_idx(args.full / name)[:count]
            write_idx(args.out / name, part)
        print(f'{split}: {len(part)} images, class counts '
              f'{np.bincount(part, minlength=10).tolist()}')


if __name__ == '__main__':
    main()
