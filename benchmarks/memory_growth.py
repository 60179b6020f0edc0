"""Memory, threads and file handles over a long run of a tiny model.

Trains a very small AttMask-iBOT through the configs' runtime: real images,
two loader workers, logging, and a checkpoint each epoch of 250 iterations.
Prints the curve every 500 iterations and compares the end with what was there
after the first fifth: resident memory may grow by 1 %, threads, handles and
child processes not at all. Linux only.

    python benchmarks/memory_growth.py --steps 5000
    python benchmarks/memory_growth.py --steps 5000 --restart-workers
"""
from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = ROOT / 'configs/quickstart/attmask_vit-quickstart-p8_fashion-' \
    'mnist.py'
EPOCH_LENGTH, SAMPLE_EVERY, LOG_EVERY = 250, 25, 50
MAX_GROWTH = 0.01
COUNTS = ('threads', 'handles', 'children')


def run_config(args: argparse.Namespace, work_dir: str) -> Any:
    """The quickstart, much smaller, with a checkpoint each epoch."""
    from mmengine.config import Config
    cfg = Config.fromfile(str(QUICKSTART))
    cfg.merge_from_dict(dict(
        work_dir=work_dir,
        train_dataloader=dict(
            batch_size=2, num_workers=2,
            persistent_workers=not args.restart_workers),
        train_cfg=dict(max_epochs=max(1, args.steps // EPOCH_LENGTH)),
        default_hooks=dict(checkpoint=dict(interval=1, max_keep_ckpts=2))))
    cfg.train_dataloader.dataset.dataset.indices = 2 * EPOCH_LENGTH
    cfg.model.backbone.arch = dict(
        embed_dims=32, num_layers=1, num_heads=2, feedforward_channels=64)
    cfg.model.head.update(num_prototypes=32, hidden_channels=32,
                          bottleneck_channels=16)
    for hook in cfg.default_hooks.values():
        if 'interval' in hook and hook.type != cfg.default_hooks[
                'checkpoint'].type:
            hook.interval = LOG_EVERY
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks
                        if hook.type not in ('mimplug.KNNReportHook',
                                             'mimplug.MaskPictureHook')]
    return cfg


def usage() -> dict[str, float]:
    """What this process holds now; memory in MiB."""
    status = dict(line.split(':', 1) for line in
                  Path('/proc/self/status').read_text().splitlines())
    task = Path(f'/proc/self/task/{os.getpid()}/children')
    return dict(
        rss=int(status['VmRSS'].split()[0]) / 1024,
        threads=int(status['Threads']),
        handles=len(os.listdir('/proc/self/fd')),
        children=len(task.read_text().split()))


def watch_hook() -> Any:
    """A hook that notes the usage every few iterations."""
    from mmengine.hooks import Hook

    class Watch(Hook):
        priority = 'LOWEST'

        def before_train(self, runner: Any) -> None:
            self.begin = time.perf_counter()
            self.curve: list[dict[str, float]] = []

        def after_train_iter(self, runner: Any, *args: Any,
                             **kwargs: Any) -> None:
            if (runner.iter + 1) % SAMPLE_EVERY == 0:
                self.curve.append(dict(
                    usage(), step=runner.iter + 1,
                    seconds=time.perf_counter() - self.begin))

    return Watch()


def judge(curve: list[dict[str, float]], steps: int) -> dict[str, Any]:
    """Compares the last tenth with the tenth after the first fifth.

    Args:
        curve (list[dict]): Samples of the run.
        steps (int): Length of the run.

    Returns:
        dict: Growth of memory as a share and of the counts, and ``ok``.
    """
    tenth = steps // 10

    def median(name: str, first: int) -> float:
        return statistics.median(point[name] for point in curve
                                 if first < point['step'] <= first + tenth)

    result: dict[str, Any] = dict(
        rss_mib_early=median('rss', 2 * tenth),
        rss_mib_late=median('rss', steps - tenth))
    result['rss_growth'] = (
        result['rss_mib_late'] / result['rss_mib_early'] - 1)
    for name in COUNTS:
        result[f'{name}_growth'] = (
            median(name, steps - tenth) - median(name, 2 * tenth))
    result['ok'] = result['rss_growth'] < MAX_GROWTH and all(
        result[f'{name}_growth'] <= 0 for name in COUNTS)
    return result


def main() -> int:
    """Trains, prints the curve and the verdict; 1 if something grew."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--steps', type=int, default=5000)
    parser.add_argument('--restart-workers', action='store_true',
                        help='new loader workers every epoch')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    args.steps -= args.steps % EPOCH_LENGTH

    from mimplug.cli._build import build_runner
    with tempfile.TemporaryDirectory() as work_dir:
        runner = build_runner(run_config(args, work_dir))
        hook = watch_hook()
        runner.register_hook(hook)
        runner.train()
    for point in hook.curve:
        if point['step'] % 500 == 0:
            print('{step:6.0f} {rss:8.1f} MiB {threads:4.0f} threads '
                  '{handles:4.0f} handles {children:3.0f} children '
                  '{seconds:7.1f} s'.format(**point))
    result = dict(judge(hook.curve, args.steps), steps=args.steps,
                  restart_workers=args.restart_workers,
                  ms_per_step=1e3 * hook.curve[-1]['seconds'] / args.steps)
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + '\n')
    return 0 if result['ok'] else 1


if __name__ == '__main__':
    raise SystemExit(main())
