"""Makes any config of ours small enough for one step on fake images."""
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from PIL import Image
from toy_stock import STOCK

# unserialised: packing 2,000 images would take half a second
FEW = dict(type='mimplug.EmbeddedFashionMNIST', indices=4,
           serialize_data=False)
ARCH = dict(embed_dims=32, num_layers=2, num_heads=2,
            feedforward_channels=64)


def shrink_vit(part: dict) -> None:
    """Two narrow blocks on 32 px; layers counted from the end stay valid."""
    part.update(arch=ARCH, img_size=32, patch_size=8)
    # no files to start from
    part.pop('init_cfg', None)


def shrink_head(part: dict) -> None:
    """Few prototypes."""
    part.update(num_prototypes=32, hidden_channels=32, bottleneck_channels=16)
    if part.get('patch_prototypes'):
        part['patch_prototypes'] = 32
    part.pop('init_cfg', None)


def shrink_mugs(part: dict) -> None:
    """Small heads, queues and memories of Mugs, whose parts have no type."""
    head = dict(hidden_channels=32, out_channels=16, predictor_channels=32)
    part.setdefault('instance', {}).update(queue=16, head=head)
    part.setdefault('local_group', {}).update(
        queue=16, head=head, memory=16, neighbours=2)
    shrink_head(part.setdefault('group', {}).setdefault('head', {}))


def shrink_crops(part: dict) -> None:
    """Views of 32 and 16 px."""
    for name, size in (('global_crops', 32), ('local_crops', 16)):
        if part.get(name):
            part[name]['size'] = size


def shrink_layer(part: dict) -> None:
    """A place among 12 blocks to that among two."""
    if part.get('layer', 0) > 1:
        part['layer'] = part['layer'] * ARCH['num_layers'] // 12


def shrink_rollout(part: dict) -> None:
    """Presets with literal blocks: both blocks, in the same order."""
    if '_ref' in part.get('preset', ''):
        part.update(start=0, end=1)


def shrink_stock(name: str) -> Callable[[dict], None]:
    """The networks of an algorithm of MMPretrain."""

    def shrink_parts(part: dict) -> None:
        tiny = STOCK[name]()
        part.update({key: tiny[key] for key in tiny if key != 'type'})
        if part.get('cell'):
            part['cell'] = 2

    return shrink_parts


def shrink_two_pictures(part: dict) -> None:
    """One for the network, one for a tokeniser of 8 x 8 pixels."""
    part.update(size=32, second_size=32)


def shrink_resnet(part: dict) -> None:
    """Narrow, with 64 channels in the last of four or fewer stages."""
    width = 64 >> (part.get('num_stages', 4) - 1)
    part.update(depth=18, stem_channels=width, base_channels=width)
    if part['type'] == 'ResNet':
        part['strides'] = (1, 2, 2, 1)
    # no files to start from
    part.pop('init_cfg', None)


def shrink_neck(part: dict) -> None:
    """Projectors have 64 channels before them, predictors 16."""
    pools = part.get('with_avg_pool', part.get('gap_dim', 0))
    part.update(in_channels=64 if pools else 16, out_channels=16)
    if 'hid_channels' in part:
        part['hid_channels'] = 32


def shrink_moco(part: dict) -> None:
    """A queue of eight batches; halves of a batch have one image."""
    part['queue'] = 16
    if part.get('split_bn'):
        part['split_bn'] = 2


SHRINK: dict[str, Callable[[dict], Any]] = {
    'mimplug.SimMIM': shrink_stock('simmim'),
    'mimplug.BEiT': shrink_stock('beit'),
    'mimplug.MAE': shrink_stock('mae'),
    'RandomResizedCrop': lambda part: part.update(scale=32),
    'RandomResizedCropAndInterpolationWithTwoPic': shrink_two_pictures,
    'ResNet': shrink_resnet,
    'ResNet_CIFAR': shrink_resnet,
    'MoCoV2Neck': shrink_neck,
    'NonLinearNeck': shrink_neck,
    'LinearNeck': shrink_neck,
    'LinearClsHead': lambda part: part.update(in_channels=64, num_classes=9),
    'mimplug.MoCo': shrink_moco,
    'mimplug.SaliencyMoCo': shrink_moco,
    'mimplug.MaskingDataPreprocessor':
    lambda part: part.update(image_size=32),
    'mimplug.MaskedViT': shrink_vit,
    'mimplug.LocalGroupViT': shrink_vit,
    'mimplug.Mugs': shrink_mugs,
    'mimplug.PrototypeHead': shrink_head,
    'mimplug.RawScore': shrink_layer,
    'mimplug.LogScore': shrink_layer,
    'mimplug.PowerScore': shrink_layer,
    'mimplug.RolloutScore': shrink_rollout,
    'mimplug.MultiCrop': shrink_crops,
    'mimplug.MugsMultiCrop': shrink_crops,
    'mimplug.PlanMultiCrop': shrink_crops,
    'mimplug.CenterView': lambda part: part.update(size=32, resize=36),
    'mimplug.EmbeddedFashionMNIST': lambda part: part.update(FEW),
    'mimplug.KNNValLoop': lambda part: part.update(k=(1, 4)),
}
# Data sets that read files which a test does not have.
FILES = ('ImageNet', 'ImageNet21k', 'CustomDataset', 'mimplug.ClassSubset',
         'mimplug.ImageNet100')


def shrink(node: Any, images: Path) -> Any:
    """Returns a part of a config with every known piece made tiny.

    Args:
        node (Any): A config or a part of one.
        images (Path): Folder from :func:`fake_images`.

    Returns:
        Any: A copy.
    """
    if isinstance(node, (list, tuple)):
        return type(node)(shrink(item, images) for item in node)
    if not isinstance(node, dict):
        return node
    if node.get('type') in FILES:
        # unserialised: packing would collect garbage each time
        return dict(type='CustomDataset', data_root=str(images),
                    serialize_data=False)
    if node.get('type') == 'CIFAR100':
        return dict(FEW)
    node = {key: shrink(value, images) for key, value in node.items()}
    if node.get('cells') == 7:  # of 224 px
        node['cells'] = 4
    SHRINK.get(str(node.get('type')), lambda part: part)(node)
    if 'batch_size' in node and 'dataset' in node:
        node.update(batch_size=2, num_workers=0, persistent_workers=False,
                    pin_memory=False)
    return node


def shrink_config(path: Path, images: Path, work_dir: Path) -> Config:
    """Reads a config and shrinks it; the length of the run stays.

    Args:
        path (Path): The config.
        images (Path): Folder from :func:`fake_images`.
        work_dir (Path): Where the run may write.

    Returns:
        Config: Ready for a runner.
    """
    whole = Config.fromfile(str(path)).to_dict()
    cfg = Config(shrink(whole, images))
    cfg.work_dir = str(work_dir)
    cfg.load_from = None
    cfg.pop('sync_bn', None)  # not on a CPU
    # Runners of one second would share their global objects.
    cfg.experiment_name = path.stem
    if cfg.optim_wrapper.get('dtype') == 'float16':
        # float16 overflows in the L2 norm of a head as narrow as this one
        cfg.optim_wrapper.dtype = 'bfloat16'
    if cfg.optim_wrapper.get('accumulative_counts', 1) > 1:
        cfg.optim_wrapper.accumulative_counts = 2
    return cfg


def fake_images(folder: Path, num_images: int = 4) -> Path:
    """Writes noise of odd sizes, two classes, as an image folder.

    Args:
        folder (Path): Filled with ``a/`` and ``b/``.
        num_images (int): Altogether. Defaults to 4.

    Returns:
        Path: The folder.
    """
    draws = np.random.RandomState(0)
    for index in range(num_images):
        shape = (33 + 10 * index, 71 - 10 * index, 3)
        place = folder / 'ab'[index % 2]
        place.mkdir(parents=True, exist_ok=True)
        pixels = draws.randint(0, 256, shape, dtype=np.uint8)
        Image.fromarray(pixels).save(place / f'{index}.png')
    return folder
