"""A whole step of AttMask-iBOT or Mugs against the bare networks in it.

In one process, in turn: our full step (teacher forward, masks or neighbours,
student forward, heads, losses, backward, clipping, AdamW, moving average,
queues) and a bare timm ViT on the same crops (student forward and backward
plus teacher forward, without stochastic depth). Prints both medians, the
median of the pairwise ratios, images/s, TFLOP/s and, for a known GPU, the
share of its peak. Peak memory of each side is that of a process of its own.

    python benchmarks/step_time.py --pairs 7 --batch 8 --threads 2
    python benchmarks/step_time.py --pairs 7 --batch 8 --threads 2 \
        --method mugs
    python benchmarks/step_time.py --device cuda --dtype bfloat16 --batch 128 \
        --pairs 30 --compile
    python benchmarks/step_time.py --device cuda --dtype bfloat16 --batch 128 \
        --loader --data data/imagenet/train --workers 16

The first three keep the views on the device; ``--loader`` measures end to end
from JPEG files, which are made up where ``--data`` names no folder.
"""
from __future__ import annotations

import argparse
import json
import logging
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from step_sides import (
    ARCHS,
    GLOBALS,
    Step,
    bare_step,
    compile_side,
    count_flops,
    our_step,
    peak_memory,
    peak_tflops,
    seconds,
)

SIDES = dict(ours=our_step, bare=bare_step)
WARM_UP = 3  # the allocator settles within three steps


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--method', choices=GLOBALS, default='attmask')
    parser.add_argument('--rows', type=int, default=65536,
                        help='of queues, memories and prototypes of Mugs')
    parser.add_argument('--arch', choices=ARCHS, default='deit-small')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--locals', type=int, default=10)
    parser.add_argument('--sizes', type=int, nargs=2, default=[224, 96],
                        help='pixels of global and local views')
    parser.add_argument('--pairs', type=int, default=7)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cuda'
                        if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--dtype', choices=['bfloat16', 'float16'])
    parser.add_argument('--drop-path', type=float, default=0.1)
    parser.add_argument('--whole-last-block', action='store_true',
                        help='last block on all tokens')
    parser.add_argument('--skip', choices=['auto', 'yes', 'no'],
                        default='auto', help='leave out dropped rows')
    parser.add_argument('--with-cp', action='store_true',
                        help='recompute activations')
    parser.add_argument('--compile', action='store_true',
                        help='compile the blocks of both sides')
    parser.add_argument('--peak-tflops', type=float,
                        help='peak of the device for the chosen type')
    parser.add_argument('--only', choices=SIDES,
                        help='one side alone, without ratio')
    parser.add_argument('--no-memory', action='store_true',
                        help='no extra processes for the peak memory')
    parser.add_argument('--loader', action='store_true',
                        help='end to end from JPEG files')
    parser.add_argument('--data', type=Path, help='folder of images')
    parser.add_argument('--images', type=int, default=512,
                        help='files to make up without --data')
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--augment', choices=['cpu', 'device'], default='cpu')
    parser.add_argument('--steps', type=int, default=20)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args(argv)
    if args.method == 'mugs' and (
            args.whole_last_block or args.augment == 'device'):
        parser.error('--method mugs needs all tokens of the last block, and '
                     'its views come from the CPU: neither --whole-last-block '
                     'nor --augment device')
    return args


def build(args: argparse.Namespace, names: list[str]
          ) -> tuple[dict[str, Step], dict[str, int]]:
    """The sides, warm, and the operations of one step of each."""
    views = [torch.randn(args.batch, 3, size, size, device=args.device)
             for size in args.sizes[:1] * GLOBALS[args.method]
             + args.sizes[1:] * args.locals]
    steps, flops = {}, {}
    for name in names:
        steps[name], model = SIDES[name](args, views)
        flops[name] = count_flops(steps[name])
        if args.compile:
            compile_side(name, model)
        for _ in range(WARM_UP):
            steps[name]()
    return steps, flops


def speed(args: argparse.Namespace, flops: int, spent: float
          ) -> dict[str, float | None]:
    """Images and operations per second, and the share of the peak."""
    achieved, peak = flops / spent / 1e12, peak_tflops(args)
    return dict(seconds=spent, images_per_second=args.batch / spent,
                gflop_per_image=flops / args.batch / 1e9,
                tflops=achieved, peak_tflops=peak,
                mfu=achieved / peak if peak else None)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Both sides in turn on views that lie on the device."""
    steps, flops = build(args, [args.only] if args.only else list(SIDES))
    times: dict[str, list[float]] = {name: [] for name in steps}
    for pair in range(args.pairs):
        # which side goes first alternates, so that drift hits both
        for name in sorted(steps, reverse=bool(pair % 2)):
            times[name].append(seconds(steps[name], args.device))
    result: dict[str, Any] = {
        name: speed(args, flops[name], statistics.median(spent))
        for name, spent in times.items()}
    if args.only:
        result[args.only]['peak_memory_mib'] = peak_memory(args.device)
    else:
        ratios = [a / b for a, b in zip(times['ours'], times['bare'])]
        result.update(ratio=statistics.median(ratios), ratios=ratios)
    return result


def memory(argv: list[str]) -> dict[str, float]:
    """Peak memory in MiB of each side in a process of its own."""
    found = {}
    for name in SIDES:
        out = subprocess.run(
            [sys.executable, __file__, *argv, '--only', name, '--pairs', '2'],
            check=True, capture_output=True, text=True).stdout
        # the JSON is all that the script itself prints
        found[name] = json.loads(out[out.index('{'):])[name][
            'peak_memory_mib']
    return found


def end_to_end(args: argparse.Namespace) -> dict[str, Any]:
    """Our side fed by the loader."""
    from step_loader import train_from_files
    step, model = our_step(args)
    if args.compile:
        compile_side('ours', model)
    result: dict[str, Any] = train_from_files(args, step)
    result['peak_memory_mib'] = peak_memory(args.device)
    return result


def main() -> int:
    """Measures and prints both sides."""
    args = parse()
    logging.disable(logging.INFO)  # a line for each initialised weight
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    given = vars(args).items()
    result: dict[str, Any] = dict(
        settings={key: value for key, value in given
                  if key not in ('out', 'data')},
        device=torch.cuda.get_device_name() if args.device == 'cuda'
        else platform.machine(), torch=torch.__version__)
    if args.loader:
        result['end_to_end'] = end_to_end(args)
    else:
        if not (args.only or args.no_memory):
            result['peak_memory_mib'] = memory(sys.argv[1:])
        result.update(measure(args))
    text = json.dumps(result, indent=2)
    print(text)
    if args.out and not args.only:
        args.out.write_text(text + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
