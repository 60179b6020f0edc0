"""Cost of attention masks beside naive loops, head averages and a step.

All sides run in one process on one thread, in alternating pairs; the fastest
call of a side counts, as what else runs on the machine only makes calls
slower. The claims, for 32 and 128 views of 197 tokens and 12 layers
with 6 heads (ViT-S/16):

- raw, log and power masks take at most 1/50 of the loop over images, heads
  and patches below, which hides the same patches (this is checked first);
- rollout masks, given every head, take at most twice the bare average over
  the heads of their layers;
- each takes at most 2 % of a ViT-S step. The step is a teacher forward and a
  student forward and backward of `--step-views` views of 224 pixels, without
  local views, heads and optimiser; its time is scaled by the number of views,
  to which it is proportional. "+ attention" adds what the blocks of the
  teacher take longer to give the attention (for rollout the average over the
  heads, as in a run), measured block by block.

    python benchmarks/mask_cost.py
"""
from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mimplug.draws import HashDraws, SampleKeys
from mimplug.masking import (
    AttentionMask,
    LogScore,
    MaskContext,
    PowerScore,
    RawScore,
    RolloutMask,
)
from mimplug.models.backbones import MaskedViT

LAYERS, HEADS, SIDE = 12, 6, 14
LOOP_SHARE, AVERAGE_RATIO, STEP_SHARE = 1 / 50, 2.0, 0.02
FUSIONS = {
    'raw': (RawScore(), lambda row: row),
    'log': (LogScore(), torch.log),
    'power': (PowerScore(power=0.25), lambda row: row**0.25),
}


def loop_mask(attention: Tensor, fuse: Callable[[Tensor], Tensor],
              ratios: list[float], kept: list[bool]) -> Tensor:
    """Masks (M, L) image after image, head after head, patch after patch.

    The order of work of ``util/masking/choose_mask.py``, whose membership
    tests run on all patches of all images.

    Args:
        attention (Tensor): (M, H, T), CLS rows.
        fuse (Callable): What is averaged over the heads.
        ratios (list[float]): Share of hidden patches of each image.
        kept (list[bool]): Whether an image is masked at all.
    """
    masks = []
    for image, ratio, keep in zip(attention, ratios, kept):
        score = torch.zeros(image.shape[1] - 1)
        for head in image:
            score += fuse(head[1:]) / len(image)
        order = torch.sort(score, descending=True).indices
        chosen = order[:int(ratio * len(score))]
        mask = torch.zeros(len(score), dtype=torch.bool)
        for patch in range(len(score)):
            if patch in chosen:
                mask[patch] = True
        if not keep:  # the release, too, clears what it has made
            mask[:] = False
        masks.append(mask)
    return torch.stack(masks)


def seconds(work: Callable[[], object]) -> float:
    """Time that a function takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(ours: Callable[[], object], theirs: Callable[[], object],
            pairs: int) -> tuple[float, float, float]:
    """Seconds of the fastest call of both, and their ratio.

    The shorter side runs up to ten times in each pair, so that both have a
    fair chance to run undisturbed.
    """
    ours(), theirs()  # warm up
    repeats = round(min(10, max(1, seconds(theirs) / seconds(ours))))
    first, second = [], []
    for _ in range(pairs):
        first += [seconds(ours) for _ in range(repeats)]
        second.append(seconds(theirs))
    return min(first), min(second), min(first) / min(second)


def context_of(attention: dict[int, Tensor]) -> MaskContext:
    """A batch of as many images, with the draws of a training run."""
    rows = len(next(iter(attention.values())))
    return MaskContext(
        grid=(SIDE, SIDE), batch_size=rows, num_layers=LAYERS,
        attention=attention, draws=HashDraws(0, 0, SampleKeys.arange(rows)))


class Report:
    """Prints lines and remembers whether a limit was missed."""

    failed = False

    def line(self, name: str, ours: float, theirs: float, ratio: float,
             limit: float, what: str) -> None:
        """One comparison."""
        missed = ratio > limit
        self.failed |= missed
        print(f'{name:30s} {1e3 * ours:9.2f} ms, {what} '
              f'{1e3 * theirs:9.2f} ms, ratio {ratio:.4f} (limit '
              f'{limit:.3g}: {"missed" if missed else "kept"})')


def against_loop(report: Report, rows: int, pairs: int) -> dict[str, float]:
    """Seconds of raw, log and power masks."""
    attention = torch.randn(rows, HEADS, SIDE**2 + 1).mul(2).softmax(-1)
    draws = context_of({LAYERS - 1: attention}).draws
    ratios = draws.row_uniform('ratio', 0.1, 0.5).tolist()
    kept = (draws.row_uniform('apply') <= 0.5).tolist()
    taken = {}
    for name, (score, fuse) in FUSIONS.items():
        generator = AttentionMask(score=score)

        def ours(generator: AttentionMask = generator) -> Tensor:
            return generator(context_of({LAYERS - 1: attention})).tokens

        def loop(fuse: Callable[[Tensor], Tensor] = fuse) -> Tensor:
            return loop_mask(attention, fuse, ratios, kept)

        differing = (ours() != loop()).sum().item()
        # Other sums of six numbers may swap two neighbours at the border.
        assert differing <= 2 * rows * 0.01, f'{name}: {differing} differ'
        result = compare(ours, loop, pairs)
        taken[name] = result[0]
        report.line(f'{name} x {rows}', *result, LOOP_SHARE, 'loop')
    return taken


def against_average(report: Report, rows: int, pairs: int
                    ) -> dict[str, float]:
    """Seconds of rollout masks."""
    shape = (rows, HEADS, SIDE**2 + 1, SIDE**2 + 1)
    attention = {layer: torch.randn(shape).softmax(-1)
                 for layer in range(LAYERS)}
    # as a teacher gives it in a run
    averaged = {layer: value.mean(1, keepdim=True)
                for layer, value in attention.items()}
    taken = {}
    for preset in ('all', 'last', 'mid'):
        generator = RolloutMask(preset)
        layers = generator.score.span.layers(LAYERS)

        def ours(generator: RolloutMask = generator,
                 given: dict[int, Tensor] = attention) -> Tensor:
            return generator(context_of(given)).tokens

        def average(layers: range = layers) -> list[Tensor]:
            return [attention[layer].mean(1) for layer in layers]

        result = compare(ours, average, pairs)
        taken[f'rollout {preset}'] = min(
            seconds(partial(ours, given=averaged)) for _ in range(pairs))
        report.line(f'rollout {preset} x {rows}', *result, AVERAGE_RATIO,
                    'head average')
    return taken


def step_seconds(views: int, pairs: int) -> float:
    """Seconds a view of a step."""
    student = MaskedViT('deit-small').train()
    teacher = MaskedViT('deit-small', with_mask_token=False).eval()
    images = torch.randn(views, 3, 16 * SIDE, 16 * SIDE)
    hidden = torch.from_numpy(np.arange(SIDE**2) % 3 == 0).expand(views, -1)

    def step() -> None:
        with torch.no_grad():
            teacher.encode(images)
        student.encode(images, hidden=hidden).tokens.square().mean().backward()
        student.zero_grad()

    step()
    return min(seconds(step) for _ in range(pairs)) / views


@torch.no_grad()
def attention_seconds(views: int, pairs: int) -> dict[str, float]:
    """Seconds a view by which a block that gives attention takes longer."""
    teacher = MaskedViT('deit-small', with_mask_token=False).eval()
    tokens = torch.randn(views, SIDE**2 + 1, teacher.embed_dims)

    def block(want: str | None) -> Callable[[], object]:
        return lambda: teacher.run_layer(0, tokens, None, want)

    extra = {}
    for want in ('cls', 'mean'):
        giving, plain, _ = compare(block(want), block(None), 10 * pairs)
        extra[want] = max(0.0, giving - plain) / views
    return extra


def given_seconds(name: str, extra: dict[str, float]) -> float:
    """Seconds a view that the teacher needs longer for a mask."""
    generator = AttentionMask()
    if name.startswith('rollout'):
        generator = RolloutMask(name.split()[1])
    needs = generator.needs.resolve(LAYERS)
    return (len(needs.cls_rows) * extra['cls']
            + len(needs.head_mean) * extra['mean'])


def main() -> int:
    """Prints one line a comparison; 1 if a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', type=int, nargs='+', default=[32, 128])
    parser.add_argument('--step-views', type=int, default=4)
    parser.add_argument('--pairs', type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    print(f'one thread, fastest calls of {args.pairs} alternating pairs')
    report = Report()
    whole = step_seconds(args.step_views, args.pairs)
    extra = attention_seconds(args.step_views, args.pairs)
    print(f'ViT-S step {1e3 * whole:.1f} ms a view; a teacher block takes '
          f'{1e3 * extra["cls"]:.3f} ms more for a CLS row, '
          f'{1e3 * extra["mean"]:.3f} ms for the mean over its heads')
    for rows in args.rows:
        taken = against_loop(report, rows, args.pairs)
        taken |= against_average(report, rows, args.pairs)
        for name, cost in taken.items():
            for what, seconds_taken in (
                    ('', cost),
                    (' + attention', cost + given_seconds(name, extra) * rows)
            ):
                report.line(f'{name} x {rows}{what}', seconds_taken,
                            whole * rows, seconds_taken / (whole * rows),
                            STEP_SHARE, 'step')
    return int(report.failed)


if __name__ == '__main__':
    sys.exit(main())
