"""Masks and filters of images beside loops over cells and convolutions.

All sides run in one process on one thread, in alternating pairs. CPU time is
taken, and the fastest call of a side counts, as what else runs on the machine
only makes calls slower. The claims, for 32 images of 224 pixels and 7 x 7
cells:

- the masks of a step of saliency-guided MoCo (query and hard negative) take
  at most 1/5 of the loop over images and cells below, which works like the
  release and hides as many cells. Both sides start from saliency maps and end
  with masks of pixels. A line without limit has the masked images, filled
  with their mean colours: both sides then write whole images, which is most
  of the work and the same for both;
- blur (31, sigma 10) and high-pass (11, sigma 5) take at most 1/5 of
  torchvision's gaussian_blur, for the high-pass with the same subtraction;
  both sides give the same pixels (this is checked first).

    python benchmarks/image_mask_cost.py --out \
        benchmarks/results/image_mask_cost.json
"""
from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur as convolved

from mimplug.draws import HashDraws, SampleKeys
from mimplug.filters import gaussian_blur, high_pass
from mimplug.masking import ImageMasker, MaskContext, pixel_mask

CELLS, SIZE, LIMIT = 7, 224, 1 / 5
UNLIMITED = ('masked images',)
QUERY, NEGATIVE = (0.05, 0.25), (0.4, 0.7)
BLUR, HIGH_PASS = (31, 10.0), (11, 5.0)


def foreground_loop(saliency: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Foreground and background cells of each image, one by one.

    The order of work of ``Dataset/localize.py``: to NumPy, thresholds in two
    loops, indices back as tensors.

    Args:
        saliency (Tensor): (M, h, w).
    """
    front, back = [], []
    for image in saliency.numpy():
        mean, std = image.mean(), image.std()
        flags = []
        for row in image:
            for value in row:
                flags.append(value >= mean or abs(value - mean) <= 0.6 * std)
        cells = torch.tensor(flags)
        front.append(cells.nonzero().flatten())
        back.append((~cells).nonzero().flatten())
    return front, back


def cells_loop(front: list[Tensor], back: list[Tensor],
               ends: tuple[float, float], balanced: bool
               ) -> list[list[tuple[int, int]]]:
    """Corners of the hidden cells, image after image.

    The order of work of ``Dataset/random_mask_mean.py``.

    Args:
        front (list[Tensor]): Foreground cells of each image.
        back (list[Tensor]): Background cells.
        ends (tuple[float, float]): Range of the ratio.
        balanced (bool): Whether the background is masked as well.
    """
    side, corners = SIZE // CELLS, []
    for objects, rest in zip(front, back):
        ratio = random.uniform(*ends)
        count = round(ratio * len(objects))
        chosen = [objects[torch.randperm(len(objects))[:count]]]
        if balanced:
            count = max(0, int(ratio * CELLS**2) - count)
            chosen.append(rest[torch.randperm(len(rest))[:count]])
        corners.append([
            (int(cell) // CELLS * side, int(cell) % CELLS * side)
            for cell in torch.cat(chosen)])
    return corners


def write_loop(pixels: Tensor, corners: list[list[tuple[int, int]]],
               values: Tensor) -> Tensor:
    """Writes the cells of each image, one after the other.

    Args:
        pixels (Tensor): (M, C, H, W), changed in place.
        corners (list): Of the cells of each image.
        values (Tensor): (M, C, 1, 1).
    """
    side = SIZE // CELLS
    for image, cells, value in zip(pixels, corners, values):
        for top, left in cells:
            image[:, top:top + side, left:left + side] = value
    return pixels


def mask_sides(rows: int) -> dict[str, tuple[Callable, Callable]]:
    """Both sides of a step's masks; first whether they hide as much."""
    images = torch.randn(rows, 3, SIZE, SIZE)
    saliency = torch.rand(rows, CELLS, CELLS)
    keys = SampleKeys.arange(rows)
    parts = [(ImageMasker(dict(type='SaliencyMask', mode=mode, ratio=ends),
                          dict(type='MeanFill'), cells=CELLS), ends)
             for mode, ends in (('balanced', QUERY), ('foreground', NEGATIVE))]

    def our_masks() -> list[Tensor]:
        draws = HashDraws(0, 0, keys, (0, 1))
        return [pixel_mask(masker.mask_generator(MaskContext(
            grid=(CELLS, CELLS), draws=draws.for_view(view), batch_size=rows,
            saliency=saliency)), (SIZE, SIZE))
            for view, (masker, _) in enumerate(parts)]

    def our_images() -> list[Tensor]:
        draws = HashDraws(0, 0, keys, (0, 1))
        return [masker(images, draws.for_view(view), saliency=saliency)[0]
                for view, (masker, _) in enumerate(parts)]

    def loop(pixels: Callable[[], Tensor], values: Callable[[], Tensor]
             ) -> list[Tensor]:
        lists = foreground_loop(saliency)
        return [write_loop(pixels(), cells_loop(*lists, ends, balanced),
                           values())
                for (_, ends), balanced in zip(parts, (True, False))]

    def loop_masks() -> list[Tensor]:
        return loop(
            lambda: torch.zeros(rows, 1, SIZE, SIZE, dtype=torch.bool),
            lambda: torch.ones(rows, 1, 1, 1, dtype=torch.bool))

    def loop_images() -> list[Tensor]:
        return loop(images.clone,
                    lambda: images.mean((2, 3), keepdim=True))

    for one, other in zip(our_masks(), loop_masks()):
        shares = [side.float().mean().item() for side in (one, other)]
        assert abs(shares[0] - shares[1]) < 0.05, shares
    return {'masks': (our_masks, loop_masks),
            'masked images': (our_images, loop_images)}


def filter_sides(rows: int) -> dict[str, tuple[Callable, Callable]]:
    """Both sides of the filters; first whether the pixels are the same."""
    images = torch.randn(rows, 3, SIZE, SIZE)

    def blurred(kernel: int, sigma: float) -> Tensor:
        return convolved(images, [kernel, kernel], [sigma, sigma])

    sides: dict[str, tuple[Callable, Callable]] = {
        'blur': (lambda: gaussian_blur(images, *BLUR),
                 lambda: blurred(*BLUR)),
        'high-pass': (lambda: high_pass(images, *HIGH_PASS),
                      lambda: images - blurred(*HIGH_PASS))}
    for ours, theirs in sides.values():
        torch.testing.assert_close(ours(), theirs(), rtol=0, atol=1e-5)
    return sides


def seconds(work: Callable[[], object]) -> float:
    """CPU time that a function takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(ours: Callable[[], object], theirs: Callable[[], object],
            pairs: int) -> tuple[float, float]:
    """CPU seconds of the fastest call of both.

    The shorter side runs up to ten times in each pair, so that both have a
    fair chance to run undisturbed.
    """
    ours(), theirs()  # warm up
    repeats = round(min(10, max(1, seconds(theirs) / seconds(ours))))
    first, second = [], []
    for _ in range(pairs):
        first += [seconds(ours) for _ in range(repeats)]
        second.append(seconds(theirs))
    return min(first), min(second)


def main() -> int:
    """Prints one line a comparison; 1 if a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', type=int, default=32)
    parser.add_argument('--pairs', type=int, default=9)
    parser.add_argument('--out', type=Path, help='write the result as JSON')
    args = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    torch.set_num_threads(1)
    print(f'one thread, {args.rows} images of {SIZE} pixels, fastest calls '
          f'of {args.pairs} alternating pairs')
    results, failed = {}, False
    for name, pair in (mask_sides(args.rows) | filter_sides(args.rows)
                       ).items():
        ours, theirs = compare(*pair, args.pairs)
        ratio, limited = ours / theirs, name not in UNLIMITED
        failed |= limited and ratio > LIMIT
        results[name] = dict(
            milliseconds=round(1e3 * ours, 2),
            other_milliseconds=round(1e3 * theirs, 2), ratio=round(ratio, 4))
        state = 'missed' if ratio > LIMIT else 'kept'
        print(f'{name:14s} {1e3 * ours:8.2f} ms, other side '
              f'{1e3 * theirs:8.2f} ms, ratio {ratio:.4f}'
              + (f' (limit {LIMIT}: {state})' if limited else ''))
    if args.out:
        args.out.write_text(json.dumps(dict(
            command='python benchmarks/image_mask_cost.py', rows=args.rows,
            limit=LIMIT, results=results,
            versions=dict(machine=platform.machine(),
                          torch=torch.__version__)), indent=1) + '\n')
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
