"""Cost of weighted k-NN beside the one matrix product that it needs.

Both sides run in one process on one thread, in alternating pairs; the median
ratio counts. The claim: at most 1.3 times the product at k 20 and 1.7 times at
k 200, for 1,000 queries, a bank of 20,000 rows and 384 channels.

    python benchmarks/knn_cost.py
"""
from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from mimplug.evaluation import knn_accuracy

LIMITS = {20: 1.3, 200: 1.7}


def seconds(work: Callable[[], object]) -> float:
    """Time that a function takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(args: argparse.Namespace, k: int) -> tuple[float, float, float]:
    """Median seconds of the product and of k-NN, and median ratio."""
    torch.manual_seed(0)
    queries = F.normalize(torch.randn(args.queries, args.channels), dim=1)
    bank = F.normalize(torch.randn(args.bank, args.channels), dim=1)
    truth = torch.randint(args.classes, (args.queries,))
    labels = torch.randint(args.classes, (args.bank,))

    def product() -> object:
        return queries @ bank.t()

    def knn() -> object:
        return knn_accuracy(queries, truth, bank, labels, k=k)

    product(), knn()  # warm up
    pairs = [(seconds(product), seconds(knn)) for _ in range(args.pairs)]
    ours, theirs = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
    return (statistics.median(theirs), statistics.median(ours),
            statistics.median(b / a for a, b in pairs))


def main() -> int:
    """Prints one line a k; 1 if a ratio is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--queries', type=int, default=1000)
    parser.add_argument('--bank', type=int, default=20_000)
    parser.add_argument('--channels', type=int, default=384)
    parser.add_argument('--classes', type=int, default=1000)
    parser.add_argument('--pairs', type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f'{args.queries} queries, bank {args.bank}, {args.channels} '
          f'channels, {args.classes} classes, one thread, median of '
          f'{args.pairs} alternating pairs')
    failed = False
    for k, limit in LIMITS.items():
        theirs, ours, ratio = compare(args, k)
        failed |= ratio > limit
        print(f'k {k:3d}: product {1e3 * theirs:6.1f} ms, k-NN '
              f'{1e3 * ours:6.1f} ms, ratio {ratio:.3f} (limit {limit}: '
              f'{"missed" if ratio > limit else "kept"})')
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
