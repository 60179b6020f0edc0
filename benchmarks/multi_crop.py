"""CPU time of 2 + 10 crops of a JPEG: this package and torchvision.

    python benchmarks/multi_crop.py

Claim: a sample of the AttMask pipeline costs at most 22 CPU-ms for a 500 x
375 photograph and no more than the reference's composition of torchvision
transforms. Both sides run in turns on one thread; medians of the rounds.
"""
from __future__ import annotations

import argparse
import io
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms as tv

from mimplug.datasets import KeyedDataset, LoadView, MultiCrop, PackViews

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LIMIT_MS = 22.0


def write_photograph(path: Path, width: int = 500, height: int = 375) -> None:
    """A smooth noisy picture of about the size of an ImageNet file."""
    rng = np.random.RandomState(0)
    small = rng.randint(0, 256, (24, 32, 3), dtype=np.uint8)
    large = Image.fromarray(small).resize((width, height), Image.BICUBIC)
    noise = rng.randint(-20, 20, (height, width, 3))
    pixels = (np.asarray(large).astype(int) + noise).clip(0, 255)
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=90)


class Sometimes:
    """Applies an operation on Pillow images with a probability."""

    def __init__(self, probability: float, operation: Callable) -> None:
        self.probability, self.operation = probability, operation

    def __call__(self, image: Image.Image) -> Image.Image:
        if random.random() < self.probability:
            return self.operation(image)
        return image


def blur(image: Image.Image) -> Image.Image:
    """Pillow's blur with a random radius."""
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def torchvision_views() -> list[Callable]:
    """The reference's composition, one entry a view."""
    def view(size, scale, blur_prob, solarize_prob):
        return tv.Compose([
            tv.RandomResizedCrop(
                size, scale, interpolation=tv.InterpolationMode.BICUBIC),
            tv.RandomHorizontalFlip(0.5),
            tv.RandomApply([tv.ColorJitter(0.4, 0.4, 0.2, 0.1)], 0.8),
            tv.RandomGrayscale(0.2), Sometimes(blur_prob, blur),
            Sometimes(solarize_prob, ImageOps.solarize), tv.ToTensor(),
            tv.Normalize(MEAN, STD)])

    return [view(224, (0.25, 1.0), 1.0, 0.0),
            view(224, (0.25, 1.0), 0.1, 0.2),
            *[view(96, (0.05, 0.25), 0.5, 0.0)] * 10]


def main() -> None:
    """Prints CPU-ms a sample of both sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--samples', type=int, default=60)
    parser.add_argument('--rounds', type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'photo.jpg'
        write_photograph(path)
        data = path.read_bytes()
        ours = KeyedDataset(
            dict(type='CustomDataset', data_root=folder, with_label=False),
            [LoadView(), MultiCrop(dict(num=2), dict(num=10)), PackViews()])
        views = torchvision_views()

        def reference(sample: int) -> None:
            image = Image.open(io.BytesIO(data)).convert('RGB')
            for view in views:
                view(image)

        sides = dict(mimplug=lambda sample: ours[0, 0, sample],
                     torchvision=reference)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(args.rounds + 1):
            for name, side in sides.items():
                start = time.process_time()
                for sample in range(args.samples):
                    side(turn * args.samples + sample)
                if turn:  # the first round warms up
                    spent = time.process_time() - start
                    times[name].append(1e3 * spent / args.samples)
    for name, values in times.items():
        print(f'{name:12s} {statistics.median(values):6.2f} CPU-ms a sample '
              f'({min(values):.2f} to {max(values):.2f})')
    print(f'limit        {LIMIT_MS:6.2f}')


if __name__ == '__main__':
    main()
