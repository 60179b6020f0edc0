"""Does the quickstart learn? k-NN over several seeds beside its baselines.

Runs the quickstart config once a seed through ``tools/train.py`` and compares
the trained teacher with its own step 0, raw pixels and chance. The claim that
must hold: the gain over step 0 is positive for every seed, and its mean is at
least two sample standard deviations.

    python benchmarks/quickstart_seeds.py --seeds 0 1 2 3 4
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = 'configs/quickstart/attmask_vit-quickstart-p8_fashion-mnist.py'


def train(config: str, seed: int, work_dir: Path, options: list[str], *,
          reuse: bool = False) -> dict[str, float]:
    """Trains one seed and returns its report in percent.

    With ``reuse`` a run of the same config, seed and options that ended in
    this directory is not repeated.
    """
    done, told = work_dir / 'row.json', [config, seed, options]
    if reuse and done.exists():
        saved = json.loads(done.read_text())
        if saved['of'] == told:
            row: dict[str, float] = saved['row']
            return row
    done.unlink(missing_ok=True)
    command = [sys.executable, 'tools/train.py', config, '--seed', str(seed),
               '--work-dir', str(work_dir)]
    if options:
        command += ['--cfg-options', *options]
    work_dir.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with open(work_dir / 'stdout.txt', 'w') as log:
        subprocess.run(command, cwd=ROOT, check=True, stdout=log,
                       stderr=subprocess.STDOUT,
                       env={**os.environ, 'PYTHONPATH': str(ROOT)})
    seconds = time.monotonic() - start
    report = json.loads((work_dir / 'knn_report.json').read_text())
    name = f'knn/top1_k{report["k"]}'
    row = dict(seed=seed, end=report['end'][name],
               step0=report['step0'][name], pixels=report['pixels'][name],
               chance=report['chance'], iterations=report['iterations'],
               seconds=round(seconds, 1))
    if 'step0_plain' in report:
        row['step0_plain'] = report['step0_plain'][name]
    done.write_text(json.dumps(dict(of=told, row=row)) + '\n')
    return row


def summarise(rows: list[dict[str, float]]) -> dict:
    """Mean and spread of the gain, and whether the claim holds."""
    gains = [row['end'] - row['step0'] for row in rows]
    mean = statistics.fmean(gains)
    spread = statistics.stdev(gains) if len(gains) > 1 else float('nan')
    return dict(mean_gain=mean, sample_std_gain=spread, min_gain=min(gains),
                mean_end=statistics.fmean(row['end'] for row in rows),
                mean_step0=statistics.fmean(row['step0'] for row in rows),
                holds=bool(min(gains) > 0 and mean >= 2 * spread))


def versions() -> dict[str, str]:
    """Machine and versions that the numbers belong to."""
    import mmengine
    import mmpretrain
    import torch
    return dict(machine=platform.machine(), cpus=str(os.cpu_count()),
                python=platform.python_version(), torch=torch.__version__,
                mmengine=mmengine.__version__,
                mmpretrain=mmpretrain.__version__)


def main() -> int:
    """Runs all seeds; exit status 1 if the claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--config', default=CONFIG)
    parser.add_argument('--seeds', type=int, nargs='+',
                        default=[0, 1, 2, 3, 4])
    parser.add_argument('--jobs', type=int, default=1,
                        help='trainings at a time')
    parser.add_argument('--work-dir', type=Path,
                        default=ROOT / 'work_dirs/quickstart_seeds')
    parser.add_argument('--out', type=Path, help='write the result as JSON')
    parser.add_argument('--cfg-options', nargs='*', default=[])
    args = parser.parse_args()
    rows = []
    print(f'{"seed":>4} {"step 0":>7} {"end":>7} {"gain":>7} {"pixels":>7} '
          f'{"chance":>7} {"seconds":>8}')
    with ThreadPoolExecutor(args.jobs) as pool:
        for row in pool.map(
                lambda seed: train(args.config, seed,
                                   args.work_dir / f'seed{seed}',
                                   args.cfg_options), args.seeds):
            rows.append(row)
            print(f'{row["seed"]:4d} {row["step0"]:7.1f} {row["end"]:7.1f} '
                  f'{row["end"] - row["step0"]:+7.1f} {row["pixels"]:7.1f} '
                  f'{row["chance"]:7.1f} {row["seconds"]:8.0f}', flush=True)
    summary = summarise(rows)
    print(f'gain over step 0: mean {summary["mean_gain"]:+.2f}, sample '
          f'standard deviation {summary["sample_std_gain"]:.2f}, smallest '
          f'{summary["min_gain"]:+.2f}: claim '
          f'{"holds" if summary["holds"] else "does NOT hold"}')
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(
            command='python benchmarks/quickstart_seeds.py --seeds '
            + ' '.join(map(str, args.seeds)) + f' --jobs {args.jobs}',
            config=args.config, runs=rows, summary=summary,
            versions=versions()), indent=2) + '\n')
    return 0 if summary['holds'] else 1


if __name__ == '__main__':
    raise SystemExit(main())
