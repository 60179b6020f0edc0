"""What the runner adds to a step, and the time to the first one.

Runs a small AttMask-iBOT through the configs' runtime (loop, hooks, loader
with a worker, optimiser wrapper, logging every 50 iterations). After each
block of 50 iterations a plain for-loop makes 50 of the same steps on the same
model, with batches of an equal loader of its own: both sides see the same
machine and pay PyTorch's hand-over of a batch. Prints the medians per
iteration and their difference, which should be at most 5 % of a 50 ms step;
then, in fresh processes, the seconds from the start of the quickstart to the
end of its first step, which should be at most 10.

    python benchmarks/runner_overhead.py --blocks 20 --starts 3
"""
from __future__ import annotations

import argparse
import cProfile
import json
import os
import platform
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = ROOT / 'configs/quickstart/attmask_vit-quickstart-p8_fashion-' \
    'mnist.py'
BLOCK = 50
BAR_MS, BAR_SECONDS = 2.5, 10.0


def run_config(args: argparse.Namespace, work_dir: str) -> Any:
    """The quickstart with views that are ready and a deeper network."""
    from mmengine.config import Config
    cfg = Config.fromfile(str(QUICKSTART))
    cfg.merge_from_dict(dict(
        work_dir=work_dir, log_interval=BLOCK,
        train_dataloader=dict(
            batch_size=4, num_workers=args.workers,
            persistent_workers=args.workers > 0)))
    cfg.train_dataloader.dataset = dict(
        type='ReadyViews', size=4 * BLOCK * (args.blocks + 1))
    cfg.model.backbone.arch = dict(
        embed_dims=96, num_layers=12, num_heads=3, feedforward_channels=384)
    cfg.train_cfg.max_epochs = 1
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks
                        if hook.type not in ('mimplug.KNNReportHook',
                                             'mimplug.MaskPictureHook')]
    for hook in cfg.custom_hooks:
        if hook.type == 'mimplug.FreezeHook':
            hook.epochs = 0  # it runs, but both sides update everything
    for name in ('logger', 'runtime_info', 'grad_norm'):
        if 'interval' in (cfg.default_hooks.get(name) or {}):
            cfg.default_hooks[name].interval = BLOCK
    return cfg


class PlainLoop:
    """Loader and step without anything around them, on the same model."""

    def __init__(self, runner: Any) -> None:
        self.model = runner.model
        self.optimizer = runner.optim_wrapper.optimizer
        self.count = 0
        self.batches = iter(runner.build_dataloader(
            runner.cfg.train_dataloader, seed=runner.seed))

    def __call__(self, steps: int) -> None:
        """So many steps with the next batches."""
        for batch in islice(self.batches, steps):
            self.step(batch)

    def step(self, batch: dict) -> None:
        """What the runner makes of a batch."""
        from mimplug.engine.optim import clip_grads_
        self.model.set_progress(
            replace(self.model.progress, step=self.count))
        self.count += 1
        inputs = self.model.data_preprocessor(batch, True)
        losses = self.model.loss(**inputs)
        (losses['loss_cls'] + losses['loss_patch']).backward()
        clip_grads_([p.grad for group in self.optimizer.param_groups
                     for p in group['params'] if p.grad is not None],
                    3.0, per_tensor=True)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.model.step_end(0.99)


def clocks() -> list[float]:
    """Wall time, and processor time of this process, in seconds."""
    return [time.perf_counter(), time.process_time()]


def per_step(begin: list[float], end: list[float]) -> list[float]:
    """Milliseconds a step of a block, by either clock."""
    return [1e3 * (b - a) / BLOCK for a, b in zip(begin, end)]


def alternating_hook(profile: cProfile.Profile | None) -> Any:
    """A hook that times blocks of the run and of the plain loop in turn."""
    from mmengine.hooks import Hook

    class Alternate(Hook):
        priority = 'LOWEST'

        def before_train(self, runner: Any) -> None:
            self.plain_loop = PlainLoop(runner)
            self.runner_ms: list[list[float]] = []
            self.plain_ms: list[list[float]] = []
            self.start: list[float] | None = None

        def after_train_iter(self, runner: Any, batch_idx: int,
                             data_batch: Any = None,
                             outputs: dict | None = None) -> None:
            if not self.every_n_inner_iters(batch_idx, BLOCK):
                return
            now = clocks()
            if profile is not None:
                profile.disable()
            if self.start is not None:  # the first block warms up
                self.runner_ms.append(per_step(self.start, now))
                begin = clocks()
                self.plain_loop(BLOCK)
                self.plain_ms.append(per_step(begin, clocks()))
            if profile is not None:
                profile.enable()
            self.start = clocks()

    return Alternate()


def overhead(args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds an iteration of both sides, and their difference.

    By wall time, and by processor time, which other jobs on the machine
    hardly change but which does not see the process wait.
    """
    import ready_views  # noqa: F401  (registers the data set)
    import torch

    from mimplug.cli._build import build_runner
    torch.set_num_threads(1)
    profile = cProfile.Profile() if args.profile else None
    with tempfile.TemporaryDirectory() as work_dir:
        runner = build_runner(run_config(args, work_dir))
        hook = alternating_hook(profile)
        runner.register_hook(hook)
        runner.train()
    if profile is not None:
        profile.disable()
        pstats.Stats(profile).sort_stats('cumtime').print_stats(
            'hook|loop|runner|dataloader|logging|optim.wrapper', 50)
    result = {}
    for clock, name in enumerate(('', 'cpu_')):
        pairs = [(runner[clock], plain[clock]) for runner, plain
                 in zip(hook.runner_ms, hook.plain_ms)]
        result[f'{name}runner_ms'] = statistics.median(a for a, _ in pairs)
        result[f'{name}plain_ms'] = statistics.median(b for _, b in pairs)
        result[f'{name}overhead_ms'] = statistics.median(
            a - b for a, b in pairs)
    return result


def first_step() -> None:
    """Trains the quickstart as the CLI does, up to its first step."""
    from mmengine.hooks import Hook

    from mimplug.cli import _build, main

    class Stop(Hook):
        priority = 'LOWEST'

        def after_train_iter(self, *args: Any, **kwargs: Any) -> None:
            print('FIRST', time.time() - float(os.environ['BEGIN']),
                  time.process_time(), flush=True)
            os._exit(0)  # not part of the start: no tidying up

    build = _build.build_runner

    def build_with_stop(cfg: Any) -> Any:
        runner = build(cfg)
        runner.register_hook(Stop())
        return runner

    _build.build_runner = build_with_stop
    main(['train', str(QUICKSTART), '--work-dir', os.environ['WORK']])


def seconds_to_first_step() -> list[float]:
    """Wall and processor seconds from a process's start to its first step."""
    with tempfile.TemporaryDirectory() as work_dir:
        out = subprocess.run(
            [sys.executable, __file__, '--first-step'], check=True, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=dict(os.environ, BEGIN=str(time.time()), WORK=work_dir)).stdout
    return next([float(word) for word in line.split()[1:]]
                for line in out.splitlines() if line.startswith('FIRST'))


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--blocks', type=int, default=20)
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--starts', type=int, default=3)
    parser.add_argument('--profile', action='store_true')
    parser.add_argument('--first-step', action='store_true',
                        help='what the fresh processes do')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    if args.first_step:
        first_step()
    starts = [seconds_to_first_step() for _ in range(args.starts)]
    result: dict[str, Any] = overhead(args)
    result['overhead_ok'] = result['overhead_ms'] <= BAR_MS
    if starts:
        result['first_step_seconds'], result['first_step_cpu_seconds'] = map(
            statistics.median, zip(*starts))
        result['first_step_ok'] = result['first_step_seconds'] <= BAR_SECONDS
    import torch
    result.update(machine=platform.machine(), cores=os.cpu_count(),
                  torch=torch.__version__)
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        args.out.write_text(text + '\n')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
