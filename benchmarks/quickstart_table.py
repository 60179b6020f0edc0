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


def earlier_runs(path: Path | None) -> dict[tuple[str, int],
                                            dict[str, float]]:
    """Config and seed -> row, of a result of quickstart_seeds.py."""
    if path is None:
        return {}
    result = json.loads(path.read_text())
    return {(result['config'], int(row['seed'])): row
            for row in result['runs']}


def run_all(methods: Mapping[str, str], args: argparse.Namespace) -> Rows:
    """Trains every method with every seed and prints as they end."""
    seeds, known = args.seeds, earlier_runs(args.earlier)

    def run(job: tuple[str, int]) -> dict[str, float]:
        method, seed = job
        if (methods[method], seed) in known and not args.cfg_options:
            return known[methods[method], seed]
        return train(
            methods[method], seed,
            args.work_dir / f'{method.replace(" ", "-")}_seed{seed}',
            args.cfg_options, reuse=args.reuse)

    todo = [(method, seed) for seed in seeds for method in methods]
    rows: Rows = {name: [] for name in methods}
    width = max(map(len, methods))
    print(f'{"method":<{width}} {"seed":>4} {"step 0":>7} {"end":>7} '
          f'{"gain":>7} {"pixels":>7} {"chance":>7} {"seconds":>8}')
    with ThreadPoolExecutor(args.jobs) as pool:
        for (method, seed), row in zip(todo, pool.map(run, todo)):
            rows[method].append(row)
            print(f'{method:<{width}} {seed:4d} {row["step0"]:7.1f} '
                  f'{row["end"]:7.1f} {row["end"] - row["step0"]:+7.1f} '
                  f'{row["pixels"]:7.1f} {row["chance"]:7.1f} '
                  f'{row["seconds"]:8.0f}', flush=True)
    return rows


def over_plain(runs: list[dict[str, float]]) -> list[dict[str, float]]:
    """Runs whose step 0 is the random network as it was built.

    Where batch norms are recalibrated, ``step0`` is with, this without.
    """
    return [{**run, 'step0': run['step0_plain']} for run in runs
            if 'step0_plain' in run]


def report(rows: Rows) -> dict[str, dict]:
    """Prints a Markdown table and returns its numbers.

    A method with two kinds of step 0 has two rows, and must beat both.
    """
    table = {}
    print('\n| | step 0 | end | gain | sample std of the gain | smallest |'
          '\n| :--- | ---: | ---: | ---: | ---: | ---: |')
    for method, runs in rows.items():
        table[method] = summarise_row(method, runs)
        if plain := over_plain(runs):
            other = summarise_row(
                f'{method}, over batch norms as built', plain)
            table[method]['over_plain'] = other
            table[method]['holds'] &= other['holds']
    return table


def summarise_row(name: str, runs: list[dict[str, float]]) -> dict:
    """Prints one row and returns its numbers."""
    summary = summarise(runs)
    summary['sample_std_end'] = statistics.stdev(run['end'] for run in runs)
    print(f'| {name} | {summary["mean_step0"]:.1f} '
          f'| {summary["mean_end"]:.1f} | {summary["mean_gain"]:+.2f} '
          f'| {summary["sample_std_gain"]:.2f} '
          f'| {summary["min_gain"]:+.1f} |')
    return summary


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
    parser.add_argument('--reuse', action='store_true',
                        help='do not repeat what ended in the work directory')
    parser.add_argument('--earlier', type=Path,
                        help='result of quickstart_seeds.py whose runs, of '
                        'the same config and seeds, are not repeated')
    parser.add_argument('--out', type=Path, help='write the result as JSON')
    parser.add_argument('--cfg-options', nargs='*', default=[])
    args = parser.parse_args()
    if len(args.seeds) < 2:
        parser.error('--seeds: two or more, to have a standard deviation')
    chosen = {name: config for name, config in methods.items()
              if not args.only or name in args.only}
    rows = run_all(chosen, args)
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
            + ' '.join(map(str, args.seeds)) + f' --jobs {args.jobs}'
            + (' --reuse' if args.reuse else '')
            + (f' --earlier {args.earlier}' if args.earlier else ''),
            cfg_options=args.cfg_options, configs=chosen, runs=rows,
            summary=table, versions=versions()), indent=2) + '\n')
    return 0 if all(claims.values()) else 1
