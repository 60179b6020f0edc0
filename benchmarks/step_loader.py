"""The step fed by the loader: JPEG files in, weights out."""
from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.runner import Runner
from PIL import Image
from step_sides import Step

from mimplug.datasets import (
    DeviceMultiCropPreprocessor,
    MultiViewDataPreprocessor,
)


@contextmanager
def jpeg_folder(args: argparse.Namespace) -> Iterator[str]:
    """The folder of ``--data``, or one of smooth noise, 500 x 375 each."""
    if args.data:
        yield str(args.data)
        return
    rng = np.random.RandomState(0)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(args.images):
            coarse = rng.randint(0, 256, (24, 32, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((500, 375), Image.BICUBIC).save(
                Path(folder) / f'{index:06d}.jpg', quality=90)
        yield folder


def build_loader(args: argparse.Namespace, folder: str
                 ) -> tuple[Any, torch.nn.Module]:
    """The method's pipeline over a folder, and what prepares its batches.

    With ``--augment device`` the workers only decode and plan; the views are
    made where the model is.
    """
    on_device = args.augment == 'device'
    cut = 'MugsMultiCrop' if args.method == 'mugs' else 'MultiCrop'
    crops = dict(type='mimplug.PlanMultiCrop' if on_device
                 else f'mimplug.{cut}',
                 global_crops=dict(num=2, size=args.sizes[0]),
                 local_crops=dict(num=args.locals, size=args.sizes[1]))
    loader = Runner.build_dataloader(dict(
        batch_size=args.batch, num_workers=args.workers, drop_last=True,
        pin_memory=args.device == 'cuda',
        persistent_workers=args.workers > 0,
        sampler=dict(type='mimplug.KeyedSampler', shuffle=True),
        collate_fn=dict(type='mimplug.view_collate'),
        dataset=dict(
            type='mimplug.KeyedDataset',
            dataset=dict(type='mmpretrain.CustomDataset', data_root=folder,
                         with_label=False),
            pipeline=[dict(type='mimplug.LoadView', truncated=True), crops,
                      dict(type='mimplug.PackViews')])), seed=0)
    prepare = (DeviceMultiCropPreprocessor() if on_device
               else MultiViewDataPreprocessor())
    return loader, prepare.to(args.device)


def epochs(loader: Any) -> Iterator[dict]:
    """Batches without end."""
    epoch = 0
    while True:
        loader.sampler.set_epoch(epoch)
        yield from loader
        epoch += 1


def train_from_files(args: argparse.Namespace, step: Step
                     ) -> dict[str, float]:
    """Images per second through the loader, and how long the step waited.

    Returns:
        dict: ``images_per_second`` and ``data_wait_share`` over
        ``args.steps`` steps after three of warming up.
    """
    with jpeg_folder(args) as folder:
        loader, prepare = build_loader(args, folder)
        if not len(loader):
            raise SystemExit(f'{folder}: fewer images than --batch')
        batches, waited, start = epochs(loader), 0.0, 0.0
        for turn in range(args.steps + 3):
            if turn == 3:
                if args.device == 'cuda':
                    torch.cuda.synchronize()
                start, waited = time.perf_counter(), 0.0
            before = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - before
            data = prepare(batch, True)
            step(data['inputs'], data['data_samples'])
        if args.device == 'cuda':
            torch.cuda.synchronize()
        spent = time.perf_counter() - start
        batches.close()
    return dict(images_per_second=args.batch * args.steps / spent,
                data_wait_share=waited / spent)
