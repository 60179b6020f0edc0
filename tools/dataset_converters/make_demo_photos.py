"""Makes the small photographs that lie inside the package.

    python tools/fetch_assets.py skimage-photos
    python tools/dataset_converters/make_demo_photos.py OUT

OUT gets the four photographs of scikit-image with a shorter side of at most
320 pixels, as JPEG.
"""
from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from mimplug.datasets.assets import asset_path

SIDE, QUALITY = 320, 85


def main() -> None:
    """Writes one file a photograph."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('out', type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for path in sorted(asset_path('skimage-photos').glob('*.[pj][np]g')):
        image = Image.open(path).convert('RGB')
        factor = min(1.0, SIDE / min(image.size))
        size = [round(side * factor) for side in image.size]
        image.resize(size, Image.Resampling.LANCZOS).save(
            args.out / f'{path.stem}.jpg', quality=QUALITY, optimize=True)


if __name__ == '__main__':
    main()
