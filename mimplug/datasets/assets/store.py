"""The folder of fetched assets: look-up, installation, check."""
from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from mimplug.errors import AssetError

from .fetch import check_hash, download, sha256_of
from .table import Asset, find_asset

RECORD = 'asset.json'
ENVIRONMENT = 'MIMPLUG_ASSETS'


def asset_root() -> Path:
    """The folder of all assets: ``$MIMPLUG_ASSETS`` or the user's cache."""
    given = os.environ.get(ENVIRONMENT)
    if given:
        return Path(given).expanduser()
    cache = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return Path(cache).expanduser() / 'mimplug' / 'assets'


def asset_path(name: str, member: str | None = None) -> Path:
    """The folder of a fetched asset, or one file in it.

    Args:
        name (str): Name of the asset.
        member (str, optional): Path inside it. Defaults to None.

    Returns:
        Path: An existing folder or file.

    Raises:
        AssetError: It has not been fetched; says which command does it.
    """
    asset = find_asset(name)
    folder = asset_root() / asset.name
    path = folder if member is None else folder / member
    if not (folder / RECORD).is_file() or not path.exists():
        raise AssetError(
            f'{path} is missing: run `python tools/fetch_assets.py {name}` '
            f'({asset.size_mb:g} MB, {asset.kind}; {ENVIRONMENT} chooses '
            'another folder)')
    return path


def check_asset(name: str) -> list[str]:
    """What is wrong with a fetched asset.

    Args:
        name (str): Name of the asset.

    Returns:
        list[str]: One line a problem; empty if all bytes are as fetched.
    """
    asset = find_asset(name)
    folder = asset_root() / asset.name
    if not (folder / RECORD).is_file():
        return ['not fetched']
    record = json.loads((folder / RECORD).read_text())
    if record['version'] != asset.version:
        return [f'version {record["version"]}, expected {asset.version}']
    problems = []
    for path, digest in record['files'].items():
        if not (folder / path).is_file():
            problems.append(f'{path} is missing')
        elif sha256_of(folder / path) != digest:
            problems.append(f'{path} has changed')
    return problems


def fetch_asset(name: str, *, force: bool = False) -> Path:
    """Fetches an asset unless it is there, and returns its folder.

    Everything happens in a temporary folder beside the final place, which
    appears at once and complete or not at all.

    Args:
        name (str): Name of the asset.
        force (bool): Whether to fetch even if it is there. Defaults to
            False.

    Returns:
        Path: The folder.

    Raises:
        AssetError: See :func:`mimplug.datasets.assets.fetch.download`.
    """
    asset = find_asset(name)
    target = asset_root() / asset.name
    if not force and not check_asset(name):
        return target
    asset_root().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
            dir=asset_root(), prefix='.fetch-') as scratch:
        for part in ('archive', 'files'):
            (Path(scratch) / part).mkdir()
        archive = download(asset, Path(scratch) / 'archive')
        files = Path(scratch) / 'files'
        _unpack(asset, archive, files)
        _record(asset, archive, files)
        if target.exists():
            target.rename(Path(scratch) / 'old')
        files.rename(target)
    return target


def _unpack(asset: Asset, archive: Path, folder: Path) -> None:
    """Writes the wanted members of an archive into ``folder``."""
    found = False
    for member, data in _members(archive):
        place = asset.place(member)
        if place is None:
            continue
        if asset.gunzip and member.endswith('.gz'):
            data = gzip.decompress(data)
        found = found or asset.holds(member)
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for place, digest in asset.contents.items():
        if not (folder / place).is_file():
            raise AssetError(
                f'asset {asset.name}: {archive.name} has no {place}')
        check_hash(asset, folder / place, digest)
    if not found:
        raise AssetError(
            f'asset {asset.name}: nothing below {asset.root} in '
            f'{archive.name}')


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every regular file of an archive."""
    if archive.suffix == '.deb':
        yield from _deb_members(archive)
    elif zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as file:
            for info in file.infolist():
                if not info.is_dir():
                    yield info.filename, file.read(info)
    else:
        with tarfile.open(archive) as tar:
            for entry in tar:
                stream = tar.extractfile(entry) if entry.isfile() else None
                if stream is not None:
                    yield entry.name, stream.read()


def _deb_members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """The data part of a Debian package, by its own tool."""
    folder = archive.parent / 'deb'
    try:
        subprocess.run(['dpkg-deb', '-x', str(archive), str(folder)],
                       check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise AssetError(f'dpkg-deb cannot unpack {archive.name}: {error}') \
            from error
    for path in sorted(folder.rglob('*')):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix(), path.read_bytes()
    shutil.rmtree(folder)


def _record(asset: Asset, archive: Path, folder: Path) -> None:
    """Writes what was fetched, for :func:`check_asset`."""
    files = {path.relative_to(folder).as_posix(): sha256_of(path)
             for path in sorted(folder.rglob('*')) if path.is_file()}
    record = dict(
        name=asset.name, kind=asset.kind, package=asset.package,
        version=asset.version, licence=asset.licence, archive=archive.name,
        archive_sha256=sha256_of(archive), files=files)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + '\n')
