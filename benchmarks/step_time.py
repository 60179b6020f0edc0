"""A whole AttMask-iBOT step against the bare networks in it.

In one process, in turn: our full step (teacher forward, masks, student
forward, heads, losses, backward, clipping, AdamW, moving average) and a bare
timm ViT on the same crops (student forward and backward plus teacher
forward). Prints each median and the median of the pairwise ratios.

    python benchmarks/step_time.py --pairs 7 --batch 8 --threads 2
"""
from __future__ import annotations

import argparse
import json
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import timm
import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mimplug.engine import TwoGroupConstructor
from mimplug.schedules import Progress

# MMPretrain's and timm's names of one architecture
ARCHS = {'deit-tiny': 'vit_tiny_patch16_224',
         'deit-small': 'vit_small_patch16_224',
         'deit-base': 'vit_base_patch16_224'}


def our_step(args: argparse.Namespace,
             views: list[Tensor]) -> Callable[[], None]:
    """The step of a training run, without runner and loader."""
    model = MODELS.build(dict(
        type='mimplug.IBOT',
        backbone=dict(type='mimplug.MaskedViT', arch=args.arch,
                      interpolate_offset=0.1, drop_path_rate=0.1),
        head=dict(type='mimplug.PrototypeHead', num_prototypes=8192,
                  norm_last_layer=False),
        mask_generator=dict(
            type='mimplug.AttentionMask', mode='high', apply_prob=0.5,
            ratio=dict(type='UniformRatio', mean=0.3, var=0.2, per='batch')),
        last_block_rule=not args.whole_last_block))
    model.init_weights()
    model.to(args.device).train()
    wrapper = TwoGroupConstructor(dict(
        dtype=args.dtype,
        optimizer=dict(type='AdamW', lr=1e-4, weight_decay=0.04, fused=True),
        clip_grad=dict(max_norm=3.0)))(model)
    count = 0

    def step() -> None:
        nonlocal count
        model.set_progress(Progress(count, 1000, 0, 10))
        with wrapper.optim_context(model):
            losses = model.loss(views)
        wrapper.update_params(losses['loss_cls'] + losses['loss_patch'])
        model.step_end(0.996)
        count += 1

    return step


def bare_step(args: argparse.Namespace,
              views: list[Tensor]) -> Callable[[], None]:
    """Student forward and backward and teacher forward of timm's ViT."""
    student, teacher = (
        timm.create_model(ARCHS[args.arch], num_classes=0, global_pool='',
                          dynamic_img_size=True).to(args.device).train()
        for _ in range(2))
    dtype = getattr(torch, args.dtype or 'float32')
    crops = [torch.cat(views[:2])]
    if len(views) > 2:
        crops.append(torch.cat(views[2:]))

    def step() -> None:
        with torch.autocast(args.device, dtype, enabled=bool(args.dtype)):
            with torch.no_grad():
                teacher(crops[0])
            loss = sum(student(crop).float().square().mean()
                       for crop in crops)
        loss.backward()
        student.zero_grad()

    return step


def seconds(step: Callable[[], None], device: str) -> float:
    """Wall time of one call."""
    if device == 'cuda':
        torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    if device == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> int:
    """Measures and prints both sides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--arch', choices=ARCHS, default='deit-small')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--locals', type=int, default=10)
    parser.add_argument('--pairs', type=int, default=7)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cuda'
                        if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', choices=['bfloat16', 'float16'])
    parser.add_argument('--whole-last-block', action='store_true')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    sizes = [224] * 2 + [96] * args.locals
    views = [torch.randn(args.batch, 3, size, size, device=args.device)
             for size in sizes]
    steps = dict(ours=our_step(args, views), bare=bare_step(args, views))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()  # first calls allocate
    for pair in range(args.pairs):
        # which side goes first alternates, so that drift hits both
        for name in sorted(steps, reverse=bool(pair % 2)):
            times[name].append(seconds(steps[name], args.device))
    ratio = statistics.median(
        a / b for a, b in zip(times['ours'], times['bare']))
    result = dict(
        settings={key: value for key, value in vars(args).items()
                  if key != 'out'},
        ours_seconds=statistics.median(times['ours']),
        bare_seconds=statistics.median(times['bare']), ratio=ratio,
        images_per_second=args.batch / statistics.median(times['ours']),
        peak_memory_mib=torch.cuda.max_memory_allocated() / 2**20
        if args.device == 'cuda' else resource.getrusage(
            resource.RUSAGE_SELF).ru_maxrss / 2**10,
        device=torch.cuda.get_device_name() if args.device == 'cuda'
        else platform.machine(), torch=torch.__version__)
    print(json.dumps(result, indent=2))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
