"""Do attention and saliency point at objects? Exact masks as the truth.

Composites (cut-outs on photographs) of the test side have exact object masks.
For each way to say where an object is, four numbers over all images:

- hit: the image's largest value lies on an object (pointing game, no
  tolerance);
- mass: share of the map, after subtracting its minimum, that lies on objects;
- IoU: of the objects and as large an area of the largest values;
- AUC: chance that a pixel of an object has a larger value than one of the
  background.

Beside them stands the share of the area that objects have, which is the hit
rate and the mass of a map that knows nothing; and a fixed map that is largest
in the middle. There is no limit to be kept. How far borders are faded was
chosen on the training side.

    python tools/fetch_assets.py tuxpaint-stamps mvtb-data efficientnet-lite0
    python tools/train.py configs/quickstart/\
attmask_vit-quickstart-p8_fashion-mnist.py --work-dir work_dirs/quickstart
    python benchmarks/pointing_game.py \
        --checkpoint work_dirs/quickstart/epoch_48.pth

Without --checkpoint the ViT keeps its random weights and is called so. Its
training images are grey clothes of 32 pixels; it sees the composites at that
size and at twice as many pixels a side.
"""
from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mimplug.converters import load_strict, read_file, select_state
from mimplug.converters.keys_efficientnet import efficientnet_lite0_to_timm
from mimplug.datasets import Composites
from mimplug.datasets.assets import asset_path
from mimplug.models.targets import (
    scda_foreground,
    scda_map,
    spectral_residual,
)
from mimplug.utils import allow_config_inheritance

ROOT = Path(__file__).resolve().parent.parent
CONFIG = 'configs/quickstart/attmask_vit-quickstart-p8_fashion-mnist.py'
SIDE, BATCH = 256, 25
Finder = Callable[[Tensor], Tensor]


def lite0(trained: bool) -> nn.Module:
    """EfficientNet-Lite0, which gives its last feature map."""
    network = timm.create_model('tf_efficientnet_lite0')
    if trained:
        content = read_file(asset_path(
            'efficientnet-lite0', 'efficientnet-lite0-57934424.pth'))
        network.load_state_dict(efficientnet_lite0_to_timm(content))
    return network.eval()


def quickstart(checkpoint: str | None) -> nn.Module:
    """The model of the quickstart."""
    allow_config_inheritance()
    init_default_scope('mmpretrain')
    model = MODELS.build(Config.fromfile(str(ROOT / CONFIG)).model)
    model.init_weights()
    if checkpoint:
        load_strict(model, select_state(read_file(checkpoint)),
                    source=checkpoint)
    return model.eval()


def attention(model: nn.Module, images: Tensor, side: int) -> Tensor:
    """CLS attention of the teacher's last layer, heads averaged."""
    prepare = model.data_preprocessor
    small = F.interpolate(images, (side, side), mode='bilinear',
                          antialias=True, align_corners=False)
    grey = small.mean(1, keepdim=True).expand(-1, 3, -1, -1) * 255
    shape = (1, -1, 1, 1)
    grey = (grey - prepare.mean.view(shape)) / prepare.std.view(shape)
    last = model.backbone.num_layers - 1
    encoded = model.teacher.backbone.encode(grey, cls_rows=[last])
    return encoded.attention[last][:, :, 1:].mean(1).unflatten(
        1, encoded.grid)


def finders(checkpoint: str | None) -> dict[str, Finder]:
    """Name → images (B, 3, H, W) in [0, 1] to maps (B, h, w)."""
    trained, random = lite0(True), lite0(False)
    vit = quickstart(checkpoint)
    weights = 'trained' if checkpoint else 'random weights'

    def middle(images: Tensor) -> Tensor:
        line = 1 - torch.linspace(-1, 1, SIDE).square()
        return (line[:, None] + line).expand(len(images), -1, -1)

    def scda(network: nn.Module) -> Finder:
        return lambda images: scda_map(
            network.forward_features((images - 0.5) / 0.5))

    def component(images: Tensor) -> Tensor:
        saliency = scda(trained)(images)
        kept = scda_foreground(saliency, num_stds=0.0, keep_largest=True)
        return saliency * kept

    def shown(side: int) -> Finder:
        return lambda images: attention(vit, images, side)

    return {
        'middle of the image': middle,
        'spectral residual': spectral_residual,
        'spectral residual, borders faded':
            lambda images: spectral_residual(images, taper=0.25),
        'SCDA, EfficientNet-Lite0': scda(trained),
        'SCDA, largest component, EfficientNet-Lite0': component,
        'SCDA, EfficientNet-Lite0, random weights': scda(random),
        f'quickstart ViT, 32 px, {weights}': shown(32),
        f'quickstart ViT, 64 px, {weights}': shown(64),
    }


def measure(values: np.ndarray, truth: np.ndarray) -> list[float]:
    """Hit, mass, IoU and AUC of one map of the size of the truth."""
    place = values.argmax()
    positive = values - values.min()
    mass = positive[truth].sum() / max(positive.sum(), 1e-12)
    order = values.ravel().argsort(kind='stable')
    ranks = np.empty(values.size)
    ranks[order] = np.arange(values.size)
    size = int(truth.sum())
    largest = ranks.reshape(truth.shape) >= values.size - size
    both = (largest & truth).sum()
    inside = ranks[truth.ravel()].sum() - size * (size - 1) / 2
    auc = inside / (size * (values.size - size))
    return [float(truth.ravel()[place]), float(mass),
            both / (2 * size - both), float(auc)]


@torch.no_grad()
def play(dataset: Composites, methods: dict[str, Finder]) -> dict:
    """All methods on all images, in percent, with standard errors."""
    rows: dict[str, list[list[float]]] = {name: [] for name in methods}
    areas = []
    for start in range(0, len(dataset), BATCH):
        infos = [dataset.get_data_info(i) for i in range(
            start, min(start + BATCH, len(dataset)))]
        infos = [info for info in infos if info['foreground'].any()]
        images = torch.from_numpy(np.stack(
            [info['img'] for info in infos])).permute(0, 3, 1, 2) / 255
        areas += [info['foreground'].mean() for info in infos]
        for name, find in methods.items():
            maps = F.interpolate(
                find(images)[:, None], (SIDE, SIDE), mode='bilinear',
                align_corners=False)[:, 0].double().numpy()
            rows[name] += [measure(one, info['foreground'])
                           for one, info in zip(maps, infos)]
    table = {}
    for name, values in rows.items():
        found = 100 * np.array(values)
        error = found.std(0, ddof=1) / len(found)**0.5
        table[name] = {
            column: [round(float(mean), 1), round(float(spread), 1)]
            for column, mean, spread in zip(
                ('hit', 'mass', 'iou', 'auc'), found.mean(0), error)}
    return dict(images=len(areas), area=round(100 * np.mean(areas), 1),
                methods=table)


def main() -> None:
    """Prints a table and writes it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--checkpoint', help='of the quickstart')
    parser.add_argument('--images', type=int, default=400)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, help='write the result as JSON')
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    dataset = Composites(split='test', num_samples=args.images,
                         size=(SIDE, SIDE), seed=args.seed)
    result = play(dataset, finders(args.checkpoint))
    print(f'{result["images"]} images; objects cover {result["area"]} % of '
          'the area. In %, with standard errors:')
    print(f'{"":46s}{"hit":>12s}{"mass":>12s}{"IoU":>12s}{"AUC":>12s}')
    for name, columns in result['methods'].items():
        cells = ''.join(f'{mean:7.1f} ±{error:3.1f}'
                        for mean, error in columns.values())
        print(f'{name:46s}{cells}')
    if args.out:
        command = f'python benchmarks/pointing_game.py --images {args.images}'
        if args.checkpoint:
            command += ' --checkpoint work_dirs/quickstart/epoch_48.pth'
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(dict(
            command=command, seed=args.seed, **result,
            versions=dict(python=platform.python_version(),
                          torch=torch.__version__, timm=timm.__version__)),
            indent=1) + '\n')


if __name__ == '__main__':
    main()
