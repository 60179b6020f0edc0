"""The hook: when, what and where."""
import sys
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image
from torch import nn

from mimplug.errors import ConfigError
from mimplug.visualization import MaskPictureHook
from mimplug.visualization.picture_hook import unit_range

sys.path.append(str(Path(__file__).parents[1] / 'evaluation'))
from toy_knn import ToyAlgorithm, ToyImages, loader_config

names = count()


def train(tmp_path, model=None, views=2, val=True, **hook):
    data = ToyImages(10, views=views)
    parts = dict(
        val_dataloader=loader_config(ToyImages(6)), val_evaluator=[],
        val_cfg=dict(type='mimplug.KNNValLoop', k=3,
                     bank=loader_config(ToyImages(6))))
    model = model or ToyAlgorithm()
    model.forward = lambda inputs, data_samples=None, mode='loss': dict(
        loss=model.backbone(inputs[0])[-1].square().mean())
    runner = Runner(
        model=model, work_dir=str(tmp_path),
        train_dataloader=loader_config(data, batch_size=5),
        train_cfg=dict(by_epoch=True, max_epochs=4),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='mimplug.MaskPictureHook', **hook)],
        default_scope='mmpretrain', experiment_name=f'masks-{next(names)}',
        visualizer=dict(type='Visualizer', vis_backends=[
            dict(type='LocalVisBackend')]), **(parts if val else {}))
    runner.train()
    return sorted(path.name for path in (tmp_path / 'vis').iterdir())


@pytest.mark.e2e
def test_one_picture_at_the_end(tmp_path):
    assert train(tmp_path, val=False) == ['masks_iter_8.png']
    picture = np.asarray(Image.open(tmp_path / 'vis' / 'masks_iter_8.png'))
    # four images below each other, two views of three pictures of 160 pixels
    assert 4 * 160 < picture.shape[0] < 5 * 160
    assert 6 * 160 < picture.shape[1] < 7 * 160
    assert picture.std() > 20
    assert list(tmp_path.rglob('vis_image/masks_8.png'))


@pytest.mark.e2e
@pytest.mark.parametrize('interval, expected', [
    (3, ['masks_iter_6.png', 'masks_iter_8.png']),
    (4, ['masks_iter_8.png'])])
def test_interval(tmp_path, interval, expected):
    assert train(tmp_path, interval=interval, num_images=2) == expected


@pytest.mark.e2e
def test_validation_images(tmp_path):
    train(tmp_path, split='val', num_images=50, cell=40)
    picture = np.asarray(Image.open(tmp_path / 'vis' / 'masks_iter_8.png'))
    assert 6 * 40 < picture.shape[0] < 9 * 40  # the six there are
    assert 3 * 40 < picture.shape[1] < 4 * 40  # one view


@pytest.mark.unit
def test_the_same_images_whenever_it_is_drawn(tmp_path):
    seen = []
    model = ToyAlgorithm()
    preview = model.preview_masks
    model.preview_masks = lambda inputs, data_samples: (
        seen.append((inputs[0].clone(), data_samples, model.training))
        or preview(inputs, data_samples))
    train(tmp_path, model=model, interval=1)
    assert len(seen) == 4
    for images, samples, training in seen:
        assert images.equal(seen[0][0])
        assert [sample.sample_idx for sample in samples] == [0, 2, 5, 7]
        assert not training
    assert model.training


@pytest.mark.unit
def test_the_model_learns_where_the_run_stands(tmp_path):
    class Positioned(ToyAlgorithm):
        def set_progress(self, progress):
            self.progress = progress

        def preview_masks(self, inputs, data_samples=None):
            assert self.progress.fraction == 1.0
            return super().preview_masks(inputs, data_samples)

    assert train(tmp_path, model=Positioned()) == ['masks_iter_8.png']


@pytest.mark.unit
def test_no_attention_and_bfloat16(tmp_path):
    class Plain(ToyAlgorithm):
        def preview_masks(self, inputs, data_samples=None):
            images = torch.cat(inputs).bfloat16()
            return dict(images=images, attention=None,
                        hidden=torch.zeros(len(images), 4, 4).bool())

    assert train(tmp_path, model=Plain()) == ['masks_iter_8.png']


@pytest.mark.unit
def test_wrong_settings(tmp_path):
    with pytest.raises(ConfigError, match='interval=0'):
        MaskPictureHook(interval=0)
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        MaskPictureHook(split='tran')
    with pytest.raises(ConfigError, match='no val_cfg'):
        train(tmp_path, split='val', val=False)

    class Masked(ToyAlgorithm):
        preview_masks = property()

    with pytest.raises(ConfigError, match='Masked has no preview_masks'):
        train(tmp_path, model=Masked())


@pytest.mark.unit
def test_normalisation_is_undone():
    class Preprocessor(nn.Module):
        mean = torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1)
        std = torch.tensor([40.0, 50.0, 60.0]).view(3, 1, 1)

    raw = torch.randint(256, (2, 3, 4, 5)).float()
    normal = (raw - Preprocessor.mean) / Preprocessor.std
    assert np.allclose(unit_range(normal, Preprocessor()), raw / 255,
                       atol=1e-6)
    stretched = unit_range(normal, object())
    assert stretched.min(axis=(1, 2, 3)).tolist() == [0, 0]
    assert stretched.max(axis=(1, 2, 3)).tolist() == [1, 1]
