"""A tiny but complete iBOT run that leaves a checkpoint after every step."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy_ibot import VIT

numbers = count()

EPOCH = dict(type='mimplug.EpochTrainLoop', max_epochs=2)
# 19 samples a pass, 4 a batch: batches straddle the passes
ITERATION = dict(type='mimplug.IterTrainLoop')
SIZE = 19
# of a checkpoint, what tells the time or the place on the disk
CLOCKS = {
    'time', 'cfg', 'experiment_name', 'last_ckpt', 'eta', 'train/time',
    'train/data_time', 'train/memory', 'train/images/s', 'train/data_wait',
    # files that are kept
    'checkpoints/iter_{}.pth'}


class Record(Hook):
    """Losses and learning rates of every iteration."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, Any]] = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        self.seen[runner.iter] = dict(
            {name: value.detach().clone() for name, value in outputs.items()
             if isinstance(value, torch.Tensor)},
            lr=runner.optim_wrapper.get_lr()['lr'],
            keys=[sample.sample_key for sample in data_batch['data_samples']])


def views(size: int, num: int) -> dict[str, Any]:
    """Crops of grey images."""
    return dict(num=num, size=size, scale=(0.3, 1.0), blur_prob=0.0,
                solarize_prob=0.0, gray_prob=0.0, jitter=(0.4, 0.4, 0, 0))


def exact_run(work_dir: Path, loop: dict, *, accumulation: int, workers: int,
              steps: int, start: Path | None = None, batch: int = 4,
              model: str = 'mimplug.IBOT', hooks: Sequence[Hook] = (),
              own_hooks: Sequence[dict] = (
                  dict(type='mimplug.TeacherHook', momentum=0.9),
                  dict(type='mimplug.FreezeHook', epochs=1)),
              **kwargs: Any) -> tuple[Runner, Record]:
    """Trains.

    Args:
        work_dir (Path): For ``iter_*.pth``, one a step.
        loop (dict): Settings of the training loop.
        accumulation (int): Micro-batches a step.
        workers (int): Of the loader.
        steps (int): Optimiser steps of an iteration-based run.
        start (Path, optional): Checkpoint to resume.
        batch (int): Images of a micro-batch on each rank.
        model (str): Type of the model.
        hooks (Sequence[Hook]): More hooks.
        own_hooks (Sequence[dict]): What the model needs; iBOT by default.
        **kwargs: More arguments of the runner.

    Returns:
        tuple: The runner at its end, and what it logged.
    """
    by_epoch = 'max_epochs' in loop
    if not by_epoch:
        loop = dict(loop, max_iters=steps * accumulation)
    sampler = 'KeyedSampler' if by_epoch else 'KeyedInfiniteSampler'
    schedule = (dict(convert_to_iter_based=True) if by_epoch
                else dict(by_epoch=False))
    record = Record()
    runner = Runner(
        model=model_of(model), work_dir=str(work_dir), train_cfg=dict(loop),
        train_dataloader=loader_of(sampler, batch, workers),
        optim_wrapper=dict(
            type='mimplug.OptimWrapper', accumulative_counts=accumulation,
            constructor='mimplug.TwoGroupConstructor',
            optimizer=dict(type='AdamW', lr=1e-2, fused=True),
            clip_grad=dict(max_norm=3.0, per_tensor=True)),
        param_scheduler=[
            dict(type='mimplug.WarmupCosineLR', warmup=0.25, final=1e-3,
                 **schedule),
            dict(type='mimplug.CosineWeightDecay', final=0.4, **schedule)],
        default_hooks=dict(
            runtime_info=dict(type='mimplug.RuntimeInfoHook'),
            logger=dict(type='LoggerHook', interval=2),
            checkpoint=dict(type='mimplug.CheckpointHook', by_epoch=False,
                            interval=accumulation)),
        custom_hooks=[
            *hooks, record, *map(dict, own_hooks)],
        load_from=None if start is None else str(start),
        resume=start is not None, default_scope='mmpretrain',
        log_processor=dict(by_epoch=by_epoch), log_level='WARNING',
        experiment_name=f'exact-{next(numbers)}', randomness=dict(seed=3),
        visualizer=dict(type='Visualizer'),
        env_cfg=dict(dist_cfg=dict(backend='gloo')), **kwargs)
    runner.train()
    return runner, record


def model_of(kind: str) -> dict[str, Any]:
    """Two blocks on 4 x 4 patches, with dropped paths."""
    return dict(
        type=kind, backbone=dict(VIT, type='mimplug.MaskedViT',
                                 drop_path_rate=0.1),
        head=dict(type='mimplug.PrototypeHead', num_prototypes=12,
                  hidden_channels=24, bottleneck_channels=8),
        mask_generator=dict(type='mimplug.AttentionMask', ratio=(0.3, 0.2),
                            apply_prob=0.7),
        data_preprocessor=dict(type='mimplug.MultiViewDataPreprocessor',
                               mean=[73] * 3, std=[90] * 3))


def loader_of(sampler: str, batch: int, workers: int) -> dict[str, Any]:
    """Multi-crop of the embedded images."""
    return dict(
        batch_size=batch, num_workers=workers, drop_last=True,
        sampler=dict(type=f'mimplug.{sampler}'),
        collate_fn=dict(type='mimplug.view_collate'),
        dataset=dict(
            type='mimplug.KeyedDataset',
            dataset=dict(type='mimplug.EmbeddedFashionMNIST', split='train',
                         indices=SIZE),
            pipeline=[dict(type='mimplug.LoadView'),
                      dict(type='mimplug.MultiCrop',
                           global_crops=views(16, 2),
                           local_crops=views(8, 2)),
                      dict(type='mimplug.PackViews')]))


def load(path: Path) -> Any:
    """A checkpoint, as any reader may take it: without executing anything."""
    return torch.load(path, weights_only=True)


def differences(one: Any, two: Any, place: str = '') -> list[str]:
    """Places at which two checkpoints are not bit for bit the same."""
    if isinstance(one, dict) and isinstance(two, dict):
        found = [f'{place}.{key}: only in one'
                 for key in (set(one) ^ set(two)) - CLOCKS]
        return found + [
            line for key in one if key in two and key not in CLOCKS
            for line in differences(one[key], two[key], f'{place}.{key}')]
    if isinstance(one, (list, tuple)) and len(one) == len(two):
        return [line for i, pair in enumerate(zip(one, two))
                for line in differences(*pair, f'{place}.{i}')]
    if isinstance(one, torch.Tensor):
        same = torch.equal(one, two) and one.dtype == two.dtype
    else:
        same = one == two
    return [] if same else [f'{place}: {one} / {two}']
