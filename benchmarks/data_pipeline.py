"""What 2 + 10 views of a photograph cost: in the loader, or on the device.

    python benchmarks/data_pipeline.py --rounds 7 --out result.json

Claims: a sample of the CPU pipeline costs at most 20 CPU-ms for a 500 x 375
JPEG and no more than the reference's composition of torchvision transforms;
with the views made on the device, a worker spends a small part of that.

CPU times are those of one thread, all sides in turn, medians of the rounds.
The device part is timed on the CPU for reference, and on CUDA where there is
one. Images per second are measured through a loader with workers.
"""
from __future__ import annotations

import argparse
import io
import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from mmengine.runner import Runner
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms as tv

from mimplug.datasets import (
    DeviceMultiCropPreprocessor,
    KeyedDataset,
    LoadView,
    MultiCrop,
    MultiViewDataPreprocessor,
    PackViews,
    PlanMultiCrop,
    view_collate,
)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LIMIT_MS = 20.0
WIDTH, HEIGHT = 500, 375
CROPS: dict[str, Any] = dict(
    global_crops=dict(num=2), local_crops=dict(num=10))


def photograph() -> tuple[np.ndarray, str]:
    """A picture of the size of a usual ImageNet file, and where it is from."""
    try:
        from sklearn.datasets import load_sample_image
        image = Image.fromarray(load_sample_image('china.jpg'))
    except (ImportError, OSError):
        rng = np.random.RandomState(0)
        small = rng.randint(0, 256, (24, 32, 3), dtype=np.uint8)
        large = Image.fromarray(small).resize((WIDTH, HEIGHT), Image.BICUBIC)
        noise = rng.randint(-20, 20, (HEIGHT, WIDTH, 3))
        pixels = np.asarray(large).astype(int) + noise
        return pixels.clip(0, 255).astype(np.uint8), 'synthetic'
    return np.asarray(ImageOps.fit(image, (WIDTH, HEIGHT))), (
        'china.jpg of scikit-learn')


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


def keyed(folder: str, transform: type[MultiCrop]) -> KeyedDataset:
    """The AttMask pipeline over a folder."""
    return KeyedDataset(
        dict(type='CustomDataset', data_root=folder, with_label=False),
        [LoadView(), transform(**CROPS), PackViews()])


def build_sides(folder: str, data: bytes, batch: int
                ) -> dict[str, Callable[[int], object]]:
    """What is timed; each call takes a number and works off a batch."""
    crop, plan = keyed(folder, MultiCrop), keyed(folder, PlanMultiCrop)
    views = torchvision_views()
    prepare = DeviceMultiCropPreprocessor()
    ready = view_collate([plan[0, 0, sample] for sample in range(batch)])

    def load(dataset: KeyedDataset, turn: int) -> object:
        return view_collate([
            dataset[0, 0, turn * batch + sample] for sample in range(batch)])

    def reference(_: int) -> None:
        for _ in range(batch):
            image = Image.open(io.BytesIO(data)).convert('RGB')
            for view in views:
                view(image)

    return dict(cpu_pipeline=lambda turn: load(crop, turn),
                torchvision=reference,
                decode_only=lambda turn: load(plan, turn),
                device_part_on_cpu=lambda turn: prepare(ready))


def cpu_times(sides: dict[str, Callable[[int], object]], rounds: int,
              batch: int) -> dict[str, dict[str, float]]:
    """Median, smallest and largest CPU-ms an image of each side."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(rounds + 1):
        for name, side in sides.items():
            start = time.process_time()
            side(turn)
            if turn:  # the first round warms up
                spent = time.process_time() - start
                times[name].append(1e3 * spent / batch)
    return {name: dict(median=round(statistics.median(values), 2),
                       low=round(min(values), 2), high=round(max(values), 2))
            for name, values in times.items()}


def cuda_part(folder: str, batch: int, rounds: int) -> dict[str, float]:
    """Wall and launch time of the device part on CUDA, peak memory."""
    plan = keyed(folder, PlanMultiCrop)
    prepare = DeviceMultiCropPreprocessor().cuda()
    ready = view_collate([plan[0, 0, sample] for sample in range(batch)])
    ready['inputs']['pixels'] = ready['inputs']['pixels'].pin_memory()
    prepare(ready)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    launch, wall = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        prepare(ready)
        launch.append(time.perf_counter() - start)
        torch.cuda.synchronize()
        wall.append(time.perf_counter() - start)
    seconds = statistics.median(wall)
    return dict(
        batch=batch, images_per_second=round(batch / seconds, 1),
        ms_a_batch=round(1e3 * seconds, 2),
        host_ms_a_batch=round(1e3 * statistics.median(launch), 2),
        peak_memory_mib=round(torch.cuda.max_memory_allocated() / 2**20))


def loader_rate(folder: str, transform: type[MultiCrop], prepare: Callable,
                args: argparse.Namespace) -> float:
    """Images a second that come out of a loader with workers, prepared."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    batch, workers = args.batch, args.workers
    loader = Runner.build_dataloader(dict(
        batch_size=batch, num_workers=workers, drop_last=True,
        pin_memory=device == 'cuda', persistent_workers=workers > 0,
        sampler=dict(type='mimplug.KeyedInfiniteSampler', shuffle=True),
        collate_fn=dict(type='mimplug.view_collate'),
        dataset=keyed(folder, transform)), seed=0)
    stream = iter(loader)
    # what the workers have made ahead does not count
    for data in islice(stream, 2 * max(1, workers)):
        prepare(data)
    start = time.perf_counter()
    for data in islice(stream, args.batches):
        prepare(data)
    if device == 'cuda':
        torch.cuda.synchronize()
    return round(args.batches * batch / (time.perf_counter() - start), 1)


def end_to_end(folder: str, args: argparse.Namespace) -> dict[str, float]:
    """Images a second of both pipelines, and of the bare decoding loader."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    sides = dict(
        views_from_the_loader=(
            MultiCrop, MultiViewDataPreprocessor().to(device)),
        views_on_the_device=(
            PlanMultiCrop, DeviceMultiCropPreprocessor().to(device)),
        decode_only_loader=(PlanMultiCrop, lambda data: data))
    return {name: loader_rate(folder, transform, prepare, args)
            for name, (transform, prepare) in sides.items()}


def machine() -> dict[str, object]:
    """Where the numbers are from."""
    return dict(
        processor=platform.processor() or platform.machine(),
        cores=os.cpu_count(), load_average=os.getloadavg()[0],
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available()
        else None, python=platform.python_version(), torch=torch.__version__,
        torchvision=torchvision.__version__, pillow=PIL.__version__,
        numpy=np.__version__)


def main() -> int:
    """Measures, prints and writes everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--batch', type=int, default=20)
    parser.add_argument('--cuda-batch', type=int, default=60)
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1)
    parser.add_argument('--batches', type=int, default=12)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = dict(machine=machine(), limit_ms=LIMIT_MS)
    with tempfile.TemporaryDirectory() as folder:
        pixels, result['picture'] = photograph()
        # a loader needs some files; a KeyedDataset draws anew for each key
        for number in range(args.batch):
            path = Path(folder) / f'{number}.jpg'
            Image.fromarray(pixels).save(path, quality=90)
        data = path.read_bytes()
        result['jpeg_bytes'] = len(data)
        result['cpu_ms_an_image'] = cpu_times(
            build_sides(folder, data, args.batch), args.rounds, args.batch)
        if torch.cuda.is_available():
            result['cuda'] = cuda_part(folder, args.cuda_batch, args.rounds)
        result['images_per_second'] = end_to_end(folder, args)
        result['workers'] = args.workers
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
