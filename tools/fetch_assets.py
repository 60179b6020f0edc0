"""Fetches real data and weights from public package registries.

    python tools/fetch_assets.py --list
    python tools/fetch_assets.py foolbox fashion-mnist
    python tools/fetch_assets.py --check foolbox

Files go to the folder that the environment variable MIMPLUG_ASSETS names, by
default mimplug/assets in the user's cache. What is already there and whole is
not fetched again.
"""
from __future__ import annotations

import argparse
import sys

from mimplug.datasets.assets import (
    ASSETS,
    asset_root,
    check_asset,
    fetch_asset,
    find_asset,
)
from mimplug.errors import MimplugError


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('names', nargs='*', metavar='NAME')
    parser.add_argument('--all', action='store_true', help='every asset')
    parser.add_argument('--force', action='store_true',
                        help='fetch again even if it is there')
    action = parser.add_mutually_exclusive_group()
    action.add_argument('--list', action='store_true',
                        help='show what can be fetched, and what is there')
    action.add_argument('--check', action='store_true',
                        help='compare the files with what was fetched')
    args = parser.parse_args()
    if args.all or (args.list and not args.names):
        args.names = [asset.name for asset in ASSETS]
    if not args.names:
        parser.error('name at least one asset, or use --all or --list')
    return args


def show(name: str) -> None:
    """One line about an asset."""
    asset = find_asset(name)
    state = '; '.join(check_asset(name)[:1]) or 'here'
    print(f'{asset.name:20s} {asset.kind:7s} {asset.package} '
          f'{asset.version}  {asset.size_mb:g} MB  [{state}]  '
          f'{asset.licence}')


def check(name: str) -> None:
    """Raises if an asset is not as fetched."""
    problems = check_asset(name)
    if problems:
        raise MimplugError(f'asset {name}: {"; ".join(problems)}')
    print(f'{name}: all files are as fetched')


def main() -> int:
    """Runs the action for every name; 1 if one of them failed."""
    args = parse_args()
    print(f'folder: {asset_root()}')
    failed = False
    for name in args.names:
        try:
            if args.list:
                show(name)
            elif args.check:
                check(name)
            else:
                print(f'{name}: {fetch_asset(name, force=args.force)}')
        except MimplugError as error:
            failed = True
            print(f'error: {error}', file=sys.stderr)
    return int(failed)


if __name__ == '__main__':
    sys.exit(main())
