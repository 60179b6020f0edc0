"""Every data set config of ``configs/_base_/datasets`` gives batches."""
from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.datasets import CIFAR100
from mmpretrain.registry import MODELS
from PIL import Image
from timm.data import ImageNetInfo
from toy_images import picture

FOLDER = Path(__file__).parents[2] / 'configs' / '_base_' / 'datasets'
IMAGENET = {
    # file: images a process, local views, scales of the two kinds
    'imagenet_bs60_attmask-10locals': (60, 10, (0.25, 1.0), (0.05, 0.25)),
    'imagenet_bs100_attmask-10locals-scale32':
    (100, 10, (0.32, 1.0), (0.05, 0.32)),
    'imagenet-20pct_bs60_attmask-6locals': (60, 6, (0.25, 1.0), (0.05, 0.25)),
    'imagenet_bs16_thesis-6locals': (16, 6, (0.25, 1.0), (0.05, 0.25)),
    'imagenet-20pct_bs16_thesis-6locals': (16, 6, (0.25, 1.0), (0.05, 0.25)),
    'imagenet_bs64_ibot-10locals': (64, 10, (0.25, 1.0), (0.05, 0.25)),
    'imagenet_bs60_attmask-10locals-device':
    (60, 10, (0.25, 1.0), (0.05, 0.25)),
    'imagenet_bs64_mugs-10locals': (64, 10, (0.25, 1.0), (0.05, 0.25)),
}
CONVNETS = {
    # file: images a process, scale, blur, training images of the fake data
    'imagenet_bs32_mocov2': (32, (0.2, 1.0), 0.5, 2000),
    'imagenet100_bs32_mocov2': (32, (0.2, 1.0), 0.5, 200),
    'imagenet_bs32_simclr': (32, (0.08, 1.0), 0.5, 2000),
    'imagenet100_bs32_simclr': (32, (0.08, 1.0), 0.5, 200),
    'imagenet_bs256_byol': (256, (0.08, 1.0), (1.0, 0.1), 2000),
}
# file: images a process, training images of the fake data
PROBES = {'imagenet_bs32_linear': (32, 2000),
          'imagenet100_bs64_linear': (64, 200)}
# file: images a process, their side, classes
SMALL = {'cifar100_bs512_mocov2': (512, 32, 100),
         'tiny-imagenet_bs256_mocov2': (256, 64, 3)}


@pytest.fixture(scope='module')
def fake_imagenet(tmp_path_factory):
    """A thousand folders; each file is one and the same picture."""
    root = tmp_path_factory.mktemp('imagenet')
    source = root / 'picture.jpg'
    Image.fromarray(picture(60, 50)).save(source)
    for split, images in (('train', 2), ('val', 1)):
        for synset in ImageNetInfo().label_names():
            folder = root / split / synset
            folder.mkdir(parents=True)
            for number in range(images):
                os.link(source, folder / f'{number}.JPEG')
    return root


def shrink(loader, root, **kwargs):
    """The loader on the fake data, two images a batch, no workers."""
    def visit(node):
        for key, value in node.items():
            if key == 'data_root':
                node[key] = str(root)
            elif key == 'per_class':
                node[key] = 1
            elif key == 'share':
                node[key] = 0.5
            elif isinstance(value, dict):
                visit(value)

    loader = loader.copy()
    visit(loader)
    loader.update(batch_size=2, num_workers=0, persistent_workers=False,
                  pin_memory=False)
    return Runner.build_dataloader(loader, seed=0)


def test_every_file_is_tested():
    assert {path.stem for path in FOLDER.glob('*.py')} == {
        *IMAGENET, *CONVNETS, *PROBES, *SMALL, 'fashion-mnist_quickstart',
        'fashion-mnist_quickstart-2views'}


@pytest.mark.unit
@pytest.mark.parametrize('name', IMAGENET)
def test_imagenet(name, fake_imagenet):
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    batch_size, num_locals, global_scale, local_scale = IMAGENET[name]
    assert cfg.train_dataloader.batch_size == batch_size
    train = shrink(cfg.train_dataloader, fake_imagenet)
    crops = train.dataset.pipeline.transforms[1]
    assert crops.global_crops.scale == global_scale
    assert crops.global_crops.blur_prob == (1.0, 0.1)
    assert crops.global_crops.solarize_prob == (0.0, 0.2)
    assert crops.local_crops.scale == local_scale
    assert crops.local_crops.blur_prob == 0.5
    device = name.endswith('-device')
    assert cfg.data_preprocessor.type == 'mimplug.' + (
        'DeviceMultiCropPreprocessor' if device
        else 'MultiViewDataPreprocessor')
    mugs = 'mugs' in name
    assert type(crops).__name__ == (
        'PlanMultiCrop' if device else
        'MugsMultiCrop' if mugs else 'MultiCrop')
    batch = MODELS.build(cfg.data_preprocessor)(next(iter(train)))
    assert [view.shape[-1] for view in batch['inputs']] == (
        [224] * (4 if mugs else 2) + [96] * num_locals)
    subset = '20pct' in name
    assert len(train.dataset) == (1000 if subset else 2000)
    bank = shrink(cfg.val_cfg.bank, fake_imagenet)
    assert len(bank.dataset) == len(train.dataset)
    val = shrink(cfg.val_dataloader, fake_imagenet)
    for loader in (bank, val):
        batch = next(iter(loader))
        assert tuple(batch['inputs'].shape) == (2, 3, 224, 224)
        assert 'gt_label' in batch['data_samples'][0]
    assert cfg.val_cfg.k == (10, 20, 100, 200)


def fast(names, *few):
    """The names, all but a few of them for the full tests only."""
    return [pytest.param(name, marks=[] if name in few else [
        pytest.mark.full]) for name in names]


@pytest.mark.unit
@pytest.mark.parametrize('name', fast(CONVNETS, 'imagenet100_bs32_mocov2'))
def test_two_views(name, fake_imagenet):
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    batch_size, scale, blur, count = CONVNETS[name]
    assert cfg.train_dataloader.batch_size == batch_size
    train = shrink(cfg.train_dataloader, fake_imagenet)
    crops = train.dataset.pipeline.transforms[1]
    assert (crops.global_crops.scale, crops.global_crops.blur_prob) == (
        scale, blur)
    assert crops.local_crops is None
    assert len(train.dataset) == count
    batch = MODELS.build(cfg.data_preprocessor)(next(iter(train)))
    assert [tuple(view.shape) for view in batch['inputs']] == [
        (2, 3, 224, 224)] * 2
    bank = shrink(cfg.val_cfg.bank, fake_imagenet)
    val = shrink(cfg.val_dataloader, fake_imagenet)
    assert (len(bank.dataset), len(val.dataset)) == (count, count // 2)
    assert tuple(next(iter(val))['inputs'].shape) == (2, 3, 224, 224)


@pytest.mark.unit
@pytest.mark.parametrize('name', fast(PROBES, 'imagenet100_bs64_linear'))
def test_linear_probe(name, fake_imagenet):
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    batch_size, count = PROBES[name]
    assert cfg.train_dataloader.batch_size == batch_size
    train = shrink(cfg.train_dataloader, fake_imagenet)
    val = shrink(cfg.val_dataloader, fake_imagenet)
    assert (len(train.dataset), len(val.dataset)) == (count, count // 2)
    assert cfg.data_preprocessor.num_classes == count // 2
    prepare = MODELS.build(dict(
        cfg.data_preprocessor, type='ClsDataPreprocessor'))
    for loader in (train, val):
        batch = prepare(next(iter(loader)))
        assert tuple(batch['inputs'].shape) == (2, 3, 224, 224)
        assert 'gt_label' in batch['data_samples'][0]
    # red stays the first channel
    pixels = next(iter(val))['inputs'][:1]
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in (
        cfg.data_preprocessor.mean, cfg.data_preprocessor.std))
    torch.testing.assert_close(
        prepare(dict(inputs=pixels))['inputs'], (pixels - mean) / std)


def write_cifar(root, monkeypatch):
    """Four pictures in the archive's form, without its checksums."""
    folder = root / 'cifar-100-python'
    folder.mkdir()
    for split in ('train', 'test'):
        content = dict(data=np.arange(4 * 3072).reshape(4, 3072).astype(
            np.uint8), fine_labels=[3, 1, 4, 1])
        (folder / split).write_bytes(pickle.dumps(content))
    monkeypatch.setattr(CIFAR100, '_check_integrity', lambda self: True)


def write_tiny(root, classes):
    """As tools/dataset_converters/tiny_imagenet.py leaves it."""
    for label in range(classes):
        for place in (f'train/n{label}/images', f'val/n{label}'):
            folder = root / place
            folder.mkdir(parents=True)
            for number in range(2):
                Image.fromarray(picture(64, 64)).save(
                    folder / f'{number}.JPEG')


@pytest.mark.unit
@pytest.mark.parametrize('name', SMALL)
def test_small_pictures(name, tmp_path, monkeypatch):
    cfg = Config.fromfile(FOLDER / f'{name}.py')
    batch_size, side, classes = SMALL[name]
    if name.startswith('cifar'):
        write_cifar(tmp_path, monkeypatch)
    else:
        write_tiny(tmp_path, classes)
    assert cfg.train_dataloader.batch_size == batch_size
    train = shrink(cfg.train_dataloader, tmp_path)
    assert len(train.dataset.metainfo['classes']) == classes
    batch = MODELS.build(cfg.data_preprocessor)(next(iter(train)))
    assert [tuple(view.shape) for view in batch['inputs']] == [
        (2, 3, side, side)] * 2
    for loader in (cfg.val_cfg.bank, cfg.val_dataloader):
        batch = next(iter(shrink(loader, tmp_path)))
        assert tuple(batch['inputs'].shape) == (2, 3, side, side)
        assert 'gt_label' in batch['data_samples'][0]
    assert (cfg.val_cfg.k, cfg.val_cfg.temperature) == ((20, 200), 0.1)
