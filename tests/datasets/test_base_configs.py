"""Every data set config of ``configs/_base_/datasets`` gives batches."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from PIL import Image
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


@pytest.fixture(scope='module')
def fake_imagenet(tmp_path_factory):
    """A thousand folders; each file is one and the same picture."""
    root = tmp_path_factory.mktemp('imagenet')
    source = root / 'picture.jpg'
    Image.fromarray(picture(60, 50)).save(source)
    for split, images in (('train', 2), ('val', 1)):
        for label in range(1000):
            folder = root / split / f'n{label:08d}'
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
        *IMAGENET, 'fashion-mnist_quickstart'}


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
