"""Makes the saliency map of every training image once, for CachedSaliency.

    python tools/fetch_assets.py u2netp
    python tools/dataset_converters/cache_saliency.py CONFIG.py data/maps \\
        --saliency type=mimplug.OnnxSaliency path=u2netp.onnx

CONFIG is a training config: its train_dataloader says which images there are,
in which order, and how they are decoded (the first transform,
mimplug.LoadView); its data preprocessor says how they are normalised. What
--saliency does not say is taken from the model's own `saliency`. Each whole
image is resized to a square; maps are stored with --map-size cells a side as
float16: 392 bytes an image, 500 MB for ImageNet. Train then with

    saliency=dict(type='mimplug.CachedSaliency', folder='data/maps')

The folder is of use for this data set in this order only. A broken image is
an error that names its file.
"""
from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.config import Config, DictAction
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from mmpretrain.registry import MODELS, TRANSFORMS
from torch.utils.data import DataLoader, Dataset

from mimplug.datasets import KeyedDataset
from mimplug.datasets.keyed import build_dataset
from mimplug.errors import ConfigError, MimplugError, check_range
from mimplug.models.targets import SaliencyWriter, build_saliency
from mimplug.utils import allow_config_inheritance

LOADER = 'LoadView'


class WholeImages(Dataset):
    """(index, uint8 image (3, S, S)) of every image of a data set.

    Args:
        dataset (dict): ``train_dataloader.dataset`` of a config.
        size (int): S.

    Raises:
        ConfigError: It is no KeyedDataset that begins with LoadView.
    """

    def __init__(self, dataset: dict, size: int) -> None:
        steps = list(dataset.get('pipeline') or ())
        kind = str(dataset.get('type')).removeprefix('mimplug.')
        first = str(steps[0]['type']) if steps else 'nothing'
        if kind != KeyedDataset.__name__ or not first.endswith(LOADER):
            raise ConfigError(
                'train_dataloader.dataset must be a mimplug.KeyedDataset '
                f'whose pipeline begins with mimplug.LoadView, got {kind} '
                f'that begins with {first}: stored maps are looked up by '
                'its sample_idx and cut by its view_boxes')
        self.inner = build_dataset(dataset['dataset'])
        self.inner.full_init()
        self.load = Compose([TRANSFORMS.build(steps[0])])
        self.size = size

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> tuple[int, torch.Tensor]:
        """One image, its sides' ratio given up."""
        image = self.load(self.inner.get_data_info(index))['img']
        pixels = torch.tensor(image).permute(2, 0, 1)[None]
        square = F.interpolate(
            pixels, (self.size, self.size), mode='bilinear', antialias=True,
            align_corners=False)
        return index, square[0]


def parse_args() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('out', type=Path, help='folder of the maps')
    parser.add_argument(
        '--saliency', nargs='+', action=DictAction, default={},
        metavar='KEY=VALUE', help="settings, e.g. "
        'type=mimplug.SpectralResidual size=64')
    parser.add_argument('--image-size', type=int, default=224)
    parser.add_argument('--map-size', type=int, default=14)
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--device', default=None,
                        help='cuda if there is one, else cpu')
    return parser.parse_args()


def find_target(cfg: Config, given: dict[str, Any]) -> Any:
    """The localiser that makes the maps."""
    model = cfg.get('model') or {}
    settings = dict(model.get('saliency') or (
        model.get('data_preprocessor') or {}).get('saliency') or {})
    if given.get('type', settings.get('type')) != settings.get('type'):
        settings = {}  # arguments of another class
    settings.update(given)
    if settings.get('type') in (None, 'mimplug.CachedSaliency'):
        raise ConfigError(
            'which localiser makes the maps? e.g. --saliency '
            'type=mimplug.OnnxSaliency path=u2netp.onnx')
    target = build_saliency(settings, has_encoder=False)
    target.init_weights()
    return target.eval()


def find_preprocessor(cfg: Config) -> Any:
    """What normalises the images, without masks and filter."""
    settings = dict((cfg.get('model') or {}).get('data_preprocessor')
                    or cfg.get('data_preprocessor') or {})
    settings.setdefault('type', 'mimplug.MultiViewDataPreprocessor')
    for name in ('view_masks', 'saliency', 'input_filter', 'image_size'):
        settings.pop(name, None)
    return MODELS.build(settings)


@torch.no_grad()
def make_maps(args: argparse.Namespace) -> None:
    """Writes the folder."""
    check_range('--map-size', args.map_size, 1, args.image_size)
    allow_config_inheritance()
    cfg = Config.fromfile(args.config)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    set_random_seed(0)
    device = args.device or ('cuda' if torch.cuda.is_available() else 'cpu')
    target = find_target(cfg, args.saliency).to(device)
    prepare = find_preprocessor(cfg).to(device)
    images = WholeImages(
        dict(cfg.train_dataloader.dataset), args.image_size)
    about = dict(saliency=target.record, image_size=args.image_size)
    writer = SaliencyWriter(args.out, len(images), args.map_size, about)
    loader = DataLoader(images, args.batch_size, num_workers=args.workers)
    for number, (index, pixels) in enumerate(loader):
        writer.write(index.tolist(),
                     target(prepare(dict(inputs=pixels))['inputs']))
        if number % 50 == 0:
            print(f'{int(index[-1]) + 1} of {len(images)} images', flush=True)
    writer.close()
    print(f'{args.out}: maps of {len(images)} images, made by {about}')


def main() -> int:
    """Runs the tool; 1 if it failed."""
    try:
        make_maps(parse_args())
    except MimplugError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
