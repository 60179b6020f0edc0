"""Does Mugs learn? k-NN of its quickstart, next to AttMask-iBOT's.

Both have the same network, images, epochs and optimiser; Mugs looks at two
more global views of an image in each step. For each method the table shows
the trained teacher and its own step 0. The claim that must hold is Mugs': the
gain over step 0 is positive for every seed, and its mean is at least two
sample standard deviations.

    python benchmarks/mugs_quickstart.py --seeds 0 1 2
"""
from __future__ import annotations

import argparse
import json
import statistics
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quickstart_seeds import CONFIG as ATTMASK
from quickstart_seeds import ROOT, summarise, train, versions

MUGS = 'configs/quickstart/mugs_vit-quickstart-p8_fashion-mnist.py'
METHODS = {'Mugs': MUGS, 'AttMask-iBOT': ATTMASK}


def run_all(seeds: list[int], jobs: int, work_dir: Path,
            options: list[str]) -> dict[str, list[dict[str, float]]]:
    """Trains every method with every seed and prints as they end."""
    todo = [(method, seed) for seed in seeds for method in METHODS]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in METHODS}
    print(f'{"method":<14} {"seed":>4} {"step 0":>7} {"end":>7} {"gain":>7} '
          f'{"pixels":>7} {"chance":>7} {"seconds":>8}')
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(
            lambda job: train(METHODS[job[0]], job[1],
                              work_dir / f'{job[0]}_seed{job[1]}', options),
            todo)
        for (method, seed), row in zip(todo, found):
            rows[method].append(row)
            print(f'{method:<14} {seed:4d} {row["step0"]:7.1f} '
                  f'{row["end"]:7.1f} {row["end"] - row["step0"]:+7.1f} '
                  f'{row["pixels"]:7.1f} {row["chance"]:7.1f} '
                  f'{row["seconds"]:8.0f}', flush=True)
    return rows


def report(rows: dict[str, list[dict[str, float]]]) -> dict[str, dict]:
    """Prints a Markdown table and returns its numbers."""
    table = {}
    print('\n| | step 0 | end | gain | sample std of the gain | smallest |'
          '\n| :--- | ---: | ---: | ---: | ---: | ---: |')
    for method, runs in rows.items():
        summary = summarise(runs)
        summary['sample_std_end'] = statistics.stdev(
            run['end'] for run in runs)
        table[method] = summary
        print(f'| {method} | {summary["mean_step0"]:.1f} '
              f'| {summary["mean_end"]:.1f} | {summary["mean_gain"]:+.2f} '
              f'| {summary["sample_std_gain"]:.2f} '
              f'| {summary["min_gain"]:+.1f} |')
    verdict = 'holds' if table['Mugs']['holds'] else 'does NOT hold'
    print(f'\nMugs above its own step 0 by two standard deviations: {verdict}')
    return table


def main() -> int:
    """Runs all; exit status 1 if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1,
                        help='trainings at a time')
    parser.add_argument('--work-dir', type=Path,
                        default=ROOT / 'work_dirs/mugs_quickstart')
    parser.add_argument('--out', type=Path, help='write the result as JSON')
    parser.add_argument('--cfg-options', nargs='*', default=[])
    args = parser.parse_args()
    if len(args.seeds) < 2:
        parser.error('--seeds: two or more, to have a standard deviation')
    rows = run_all(args.seeds, args.jobs, args.work_dir, args.cfg_options)
    table = report(rows)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(
            command='python benchmarks/mugs_quickstart.py --seeds '
            + ' '.join(map(str, args.seeds)) + f' --jobs {args.jobs}',
            cfg_options=args.cfg_options,
            configs=METHODS, runs=rows, summary=table, versions=versions()),
            indent=2) + '\n')
    return 0 if table['Mugs']['holds'] else 1


if __name__ == '__main__':
    raise SystemExit(main())
