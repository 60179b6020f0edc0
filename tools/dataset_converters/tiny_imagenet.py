"""Sorts the validation images of Tiny-ImageNet into one folder a class.

    python tools/dataset_converters/tiny_imagenet.py data/tiny-imagenet-200

The archive has val/images/*.JPEG and val/val_annotations.txt. Afterwards
there is val/<synset>/*.JPEG, which MMPretrain's CustomDataset reads, as it
does train/<synset>/images/*.JPEG. An interrupted call can be repeated.
"""
from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from mimplug.datasets.class_folders import describe, place_files
from mimplug.errors import ConfigError


def annotations(val: Path) -> Iterator[tuple[Path, str]]:
    """File and synset of each line of val_annotations.txt."""
    text = (val / 'val_annotations.txt').read_text()
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if len(fields) < 2:
            raise ConfigError(
                f'val_annotations.txt, line {number}: {line!r}; expected '
                'file, synset and box')
        yield val / 'images' / fields[0], fields[1]


def main() -> None:
    """Moves the images and removes the empty folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('root', type=Path, help='has train/ and val/')
    val = parser.parse_args().root / 'val'
    try:
        counts = place_files(annotations(val), val)
    except (ConfigError, FileNotFoundError) as error:
        raise SystemExit(f'{val}: {error}') from error
    images = val / 'images'
    if images.is_dir() and not any(images.iterdir()):
        # it would count as a class
        images.rmdir()
    print(f'{val}: {describe(counts)}')


if __name__ == '__main__':
    main()
