"""Small folders of cut-outs and photographs."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {'red': (250, 0, 0), 'green': (0, 250, 0)}


def write_sources(root: Path, *, files: int = 4) -> tuple[str, str]:
    """Solid discs of two classes with a see-through rim, and grey noise."""
    cutouts, photos = root / 'cutouts', root / 'photos'
    rows, columns = np.mgrid[:30, :40]
    disc = ((rows - 15) / 12)**2 + ((columns - 20) / 16)**2
    for name, colour in COLOURS.items():
        (cutouts / name).mkdir(parents=True)
        for number in range(files):
            image = np.zeros((30, 40, 4), np.uint8)
            image[..., :3] = colour
            image[..., number % 3] |= number
            image[..., 3] = np.where(disc < 1, 255, np.where(disc < 1.2, 60,
                                                             0))
            Image.fromarray(image).save(
                cutouts / name / f'{"abcdefgh"[number]}.png')
    photos.mkdir()
    rng = np.random.default_rng(0)
    for number in range(files):
        # smaller than a composite, much larger, and in between
        grey = rng.integers(90, 110, (20 + 60 * number, 50 + 70 * number))
        Image.fromarray(grey.astype(np.uint8)).save(
            photos / f'{"klmnopqr"[number]}.jpg')
    return str(cutouts), str(photos)
