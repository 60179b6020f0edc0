"""Steps of MixMask, of Un-Mix with MixMask and of saliency-guided MoCo.

Each beside a step of plain MoCo v2 on the same views, in one process and in
turn: masks and mixtures, forward, backward, SGD, the key encoder's average
and the queue of 65,536 keys. Prints the median of each and the median of the
pairwise ratios. MixMask has one query pass more than MoCo, so that 7 passes
(a backward counts as two) stand against 4: 1.75 times the work. It must not
take more than 1.85 times as long; else the exit code is 1. The others are
printed only: Un-Mix with MixMask has 10 passes; the saliency-guided one (hp)
has MoCo's 4, one of hard negatives and two of a localiser of the same size.

On a CPU times are those of the CPU, of all threads together.

    python benchmarks/mixmask_step.py
    python benchmarks/mixmask_step.py --device cuda --dtype bfloat16 \
        --batch 128 --pairs 30
"""
from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmpretrain.registry import MODELS

from mimplug.engine.optim import OptimWrapper
from mimplug.schedules import Progress
from mimplug.utils import register_all_modules

BAR = 1.85  # of MixMask against plain MoCo
WARM_UP = 2  # the allocator and the momentum of SGD
Step = Callable[[], None]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--size', type=int, default=224)
    parser.add_argument('--depth', type=int, default=50,
                        choices=[18, 34, 50, 101])
    parser.add_argument('--queue', type=int, default=65536)
    parser.add_argument('--pairs', type=int, default=5)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--dtype', choices=['bfloat16', 'float16'])
    parser.add_argument('--only', nargs='+', choices=sorted(variants(50)),
                        help='these beside plain MoCo')
    parser.add_argument('--out', type=Path)
    return parser.parse_args(argv)


def variants(depth: int) -> dict[str, dict[str, Any]]:
    """What each side adds to plain MoCo."""
    cells = 7
    mix = dict(type='mimplug.MaskMix', grid=8)
    noise = dict(type='mimplug.NoiseFill')
    generator = dict(type='mimplug.SaliencyMask')
    return {
        'mixmask': dict(mixes=[mix]),
        'unmix+mixmask': dict(mixes=[
            dict(type='mimplug.UnMix'), dict(mix, partner='permutation')]),
        'saliency-hp': dict(
            type='mimplug.SaliencyMoCo',
            input_filter=dict(type='mimplug.HighPass'),
            saliency=dict(type='mimplug.SCDA', backbone=dict(
                type='ResNet', depth=depth)),
            view_masks=[dict(mask_generator=generator, fill=noise,
                             cells=cells)],
            hard_negative=dict(
                mask_generator=dict(generator, mode='foreground'),
                fill=dict(noise, std=0.14), cells=cells)),
    }


def make_step(args: argparse.Namespace, settings: dict[str, Any]) -> Step:
    """A whole training step of one side."""
    width = 512 if args.depth < 50 else 2048
    torch.manual_seed(0)
    model = MODELS.build({
        'type': 'mimplug.MoCo', 'draws_seed': 0,
        'backbone': dict(type='ResNet', depth=args.depth,
                         norm_cfg=dict(type='BN')),
        'neck': dict(type='MoCoV2Neck', in_channels=width,
                     hid_channels=width, out_channels=128),
        'queue': args.queue, **settings})
    model.init_weights()
    model.to(args.device).train()
    wrapper = OptimWrapper(
        torch.optim.SGD([p for p in model.parameters() if p.requires_grad],
                        lr=0.03, momentum=0.9, weight_decay=1e-4),
        dtype=args.dtype)
    views = [torch.randn(args.batch, 3, args.size, args.size,
                         device=args.device) for _ in range(2)]
    done = [0]

    def step() -> None:
        model.set_progress(Progress(done[0], 1_000_000))
        with wrapper.optim_context(model):
            loss, _ = model.parse_losses(model.loss(views))
        wrapper.update_params(loss)
        model.step_end(0.0, finite=wrapper.finite)
        done[0] += 1

    return step


def seconds(step: Step, device: str) -> float:
    """Time of a call: of the device, or of the CPU in all threads."""
    if not device.startswith('cuda'):
        # other work of the machine does not count
        start = time.process_time()
        step()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """All sides in turn."""
    chosen = {name: settings for name, settings
              in variants(args.depth).items()
              if args.only is None or name in args.only}
    steps = {name: make_step(args, settings)
             for name, settings in {'moco': {}, **chosen}.items()}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for pair in range(args.pairs):
        # which side goes first alternates, so that drift hits all
        for name in list(steps)[::-1 if pair % 2 else 1]:
            times[name].append(seconds(steps[name], args.device))
    return {name: dict(
        seconds=statistics.median(spent),
        images_per_second=args.batch / statistics.median(spent),
        ratio=statistics.median(
            ours / plain for ours, plain in zip(spent, times['moco'])))
        for name, spent in times.items()}


def main(argv: list[str] | None = None) -> int:
    """Measures, prints, judges."""
    args = parse(argv)
    register_all_modules()
    MMLogger.get_instance('mmengine').setLevel(logging.WARNING)
    torch.set_num_threads(args.threads)
    print(f'ResNet-{args.depth}, batch {args.batch} at {args.size} px, '
          f'{args.device}, {args.dtype or "float32"}, {args.threads} '
          f'thread(s), {args.pairs} rounds')
    result = measure(args)
    for name, row in result.items():
        print(f'{name:14} {row["seconds"] * 1e3:9.1f} ms '
              f'{row["images_per_second"]:9.1f} images/s '
              f'{row["ratio"]:6.3f} x MoCo')
    ratio = result.get('mixmask', {}).get('ratio')
    passed = ratio is None or ratio <= BAR
    if ratio is not None:
        print(f'MixMask {ratio:.3f} x MoCo, allowed is {BAR}: '
              f'{"holds" if passed else "does not hold"}')
    if args.out:
        machine = (torch.cuda.get_device_name(args.device)
                   if args.device.startswith('cuda') else platform.machine())
        args.out.write_text(json.dumps(dict(
            sides=result, bar=BAR, passed=passed, machine=machine,
            torch=torch.__version__, settings={
                key: value for key, value in vars(args).items()
                if key != 'out'}), indent=1) + '\n')
    return 0 if passed else 1


if __name__ == '__main__':
    raise SystemExit(main())
