"""Trains several quickstart configs with several seeds, side by side."""
from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from quickstart_seeds import ROOT, summarise, train, versions

Rows = dict[str, list[dict[str, float]]]


def run_all(methods: Mapping[str, str], seeds: list[int], jobs: int,
            work_dir: Path, options: list[str]) -> Rows:
    """Trains every method with every seed and prints as they end."""
    todo = [(method, seed) for seed in seeds for method in methods]
    rows: Rows = {name: [] for name in methods}
    width = max(map(len, methods))
    print(f'{"method":<{width}} {"seed":>4} {"step 0":>7} {"end":>7} '
          f'{"gain":>7} {"pixels":>7} {"chance":>7} {"seconds":>8}')
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(
            lambda job: train(
                methods[job[0]], job[1],
                work_dir / f'{job[0].replace(" ", "-")}_seed{job[1]}',
                options), todo)
        for (method, seed), row in zip(todo, found):
            rows[method].append(row)
            print(f'{method:<{width}} {seed:4d} {row["step0"]:7.1f} '
                  f'{row["end"]:7.1f} {row["end"] - row["step0"]:+7.1f} '
                  f'{row["pixels"]:7.1f} {row["chance"]:7.1f} '
                  f'{row["seconds"]:8.0f}', flush=True)
    return rows


def report(rows: Rows) -> dict[str, dict]:
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
    return table


def compare(script: str, methods: Mapping[str, str],
            must_hold: list[str]) -> int:
    """The command line of a comparison.

    Args:
        script (str): Name of the calling file, for the record and the name
            of its working directory.
        methods (Mapping[str, str]): Name in the table -> config.
        must_hold (list[str]): Names whose gain over step 0 must be positive
            for every seed and, on average, at least two sample standard
            deviations.

    Returns:
        int: Exit status, 1 if a claim does not hold.
    """
    parser = argparse.ArgumentParser(prog=script)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--jobs', type=int, default=1,
                        help='trainings at a time')
    parser.add_argument('--only', nargs='+', choices=list(methods),
                        help='some of the methods')
    parser.add_argument('--work-dir', type=Path,
                        default=ROOT / 'work_dirs' / Path(script).stem)
    parser.add_argument('--out', type=Path, help='write the result as JSON')
    parser.add_argument('--cfg-options', nargs='*', default=[])
    args = parser.parse_args()
    if len(args.seeds) < 2:
        parser.error('--seeds: two or more, to have a standard deviation')
    chosen = {name: config for name, config in methods.items()
              if not args.only or name in args.only}
    rows = run_all(chosen, args.seeds, args.jobs, args.work_dir,
                   args.cfg_options)
    table = report(rows)
    claims = {name: table[name]['holds'] for name in must_hold
              if name in table}
    for name, holds in claims.items():
        print(f'\n{name} above its own step 0 by two standard deviations: '
              f'{"holds" if holds else "does NOT hold"}')
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(
            command=f'python benchmarks/{script} --seeds '
            + ' '.join(map(str, args.seeds)) + f' --jobs {args.jobs}',
            cfg_options=args.cfg_options, configs=chosen, runs=rows,
            summary=table, versions=versions()), indent=2) + '\n')
    return 0 if all(claims.values()) else 1
