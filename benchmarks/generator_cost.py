"""What each registered mask generator costs, one by one.

One process, one thread, CPU: the fastest of several calls for a batch of 14 x
14 tokens (224 x 224 pixels for those that work on pixels), everything that the
generator looks at (attention of 12 layers with 6 heads, features, ...) being
there already. Each class stands for its settings in the first picture. Beside
it the share of a ViT-S/16 step, measured as in `benchmarks/mask_cost.py`,
which also says what giving attention costs.

    python benchmarks/generator_cost.py --out \
        benchmarks/results/generator_cost.json

With --add NAME ... only these are measured and the file keeps the others.
"""
from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import torch
from mask_cost import HEADS, LAYERS, SIDE, seconds, step_seconds

from mimplug.draws import HashDraws, SampleKeys
from mimplug.masking import MaskContext, MaskGenerator
from mimplug.schedules import Progress
from mimplug.visualization import example_generators, generator_classes

TOKENS, PATCH = SIDE**2 + 1, 16


def context_for(generator: MaskGenerator, rows: int, views: int
                ) -> MaskContext:
    """A batch with what this generator asks for."""
    needs = generator.needs.resolve(LAYERS)
    attention = {layer: torch.randn(rows, HEADS, TOKENS).softmax(-1)
                 for layer in needs.cls_rows}
    attention |= {
        layer: torch.randn(rows, HEADS, TOKENS, TOKENS).softmax(-1)
        for layer in needs.full}
    given = {name: torch.randn(shape) for name, shape in (
        ('features', (rows, SIDE**2, 384)), ('difficulty', (rows, SIDE**2)),
        ('saliency', (rows, 56, 56)),
        ('images', (rows, 3, PATCH * SIDE, PATCH * SIDE)))
        if getattr(needs, name)}
    images = rows // views
    side = PATCH * SIDE if generator.pixels else SIDE
    return MaskContext(
        grid=(side, side), batch_size=images, num_views=views,
        num_layers=LAYERS, attention=attention, progress=Progress(5, 10, 5,
                                                                  10),
        draws=HashDraws(0, 5, SampleKeys.arange(images), range(views)),
        **given)


def cost(generator: MaskGenerator, rows: int, calls: int) -> float:
    """Seconds of the fastest call."""
    views = getattr(generator, 'num_views', None) or 1
    rows -= rows % views
    context = context_for(generator, rows, views)
    generator(context)
    return min(seconds(lambda: generator(context)) for _ in range(calls))


def main() -> None:
    """Prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', type=int, default=32)
    parser.add_argument('--calls', type=int, default=20)
    parser.add_argument('--step-views', type=int, default=4)
    parser.add_argument('--out', type=Path, help='write the result as JSON')
    parser.add_argument('--add', nargs='+', default=[], metavar='NAME',
                        help='measure these only; --out has the others')
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    table = {}
    if args.add:
        known = json.loads(args.out.read_text())
        args.rows, table = known['rows'], known['generators']
        step = known['step_milliseconds'] / 1e3
    else:
        step = step_seconds(args.step_views, 3) * args.rows
    print(f'ViT-S/16 step of {args.rows} views: {1e3 * step:.0f} ms')
    for name in args.add or generator_classes():
        settings, generator = example_generators(name)[0]
        taken = cost(generator, args.rows, args.calls)
        table[name] = dict(
            settings=settings, milliseconds=round(1e3 * taken, 3),
            percent_of_step=round(100 * taken / step, 4))
        print(f'{name:22s} {1e3 * taken:8.3f} ms  '
              f'{100 * taken / step:7.4f} %  {settings}')
    if args.out:
        args.out.write_text(json.dumps(dict(
            command='python benchmarks/generator_cost.py', rows=args.rows,
            step_milliseconds=round(1e3 * step, 1),
            generators=dict(sorted(table.items())),
            versions=dict(machine=platform.machine(),
                          torch=torch.__version__)), indent=1) + '\n')


if __name__ == '__main__':
    main()
