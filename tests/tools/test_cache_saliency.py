"""Maps of a data set, made once and looked up."""
from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from mimplug.datasets import view_collate
from mimplug.models.targets import CachedSaliency, spectral_residual

SCRIPT = (Path(__file__).resolve().parents[2] / 'tools'
          / 'dataset_converters' / 'cache_saliency.py')
CONFIG = """
default_scope = 'mmpretrain'
model = dict(data_preprocessor=dict(
    type='mimplug.MaskingDataPreprocessor', mean=[100.0] * 3, std=[50.0] * 3,
    view_masks=[dict(views=[0], mask_generator=dict(type='SaliencyMask'),
                     fill=dict(type='MeanFill'), cells=4)],
    saliency=dict(type='mimplug.SpectralResidual', size=16)))
train_dataloader = dict(batch_size=2, dataset=dict(
    type='mimplug.KeyedDataset',
    dataset=dict(type='mimplug.EmbeddedFashionMNIST', indices=5),
    pipeline=[dict(type='mimplug.LoadView', pad_to=32),
              dict(type='mimplug.MultiCrop', global_crops=dict(size=32)),
              dict(type='mimplug.PackViews')]))
"""


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Runs the tool; returns its exit status and what it said."""
    (tmp_path / 'config.py').write_text(CONFIG)

    def run(*words, config='config.py'):
        monkeypatch.setattr(sys, 'argv', [
            str(SCRIPT), str(tmp_path / config), str(tmp_path / 'maps'),
            '--workers', '0', '--image-size', '32', *words])
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(SCRIPT), run_name='__main__')
        said = capsys.readouterr()
        return stop.value.code, said.out + said.err

    return run


@pytest.mark.unit
def test_maps_of_whole_images_become_those_of_views(call, tmp_path):
    code, said = call('--map-size', '16', '--batch-size', '2')
    assert code == 0, said
    assert 'maps of 5 images' in said
    about = json.loads((tmp_path / 'maps' / 'about.json').read_text())
    assert about['count'] == 5
    assert about['saliency']['type'] == 'mimplug.SpectralResidual'
    dataset = DATASETS.build(Config.fromfile(
        tmp_path / 'config.py').train_dataloader.dataset)
    image = np.pad(dataset.get_data_info(3)['img'].squeeze(), 2)
    pixels = (torch.tensor(image).float() - 100) / 50
    wanted = spectral_residual(
        pixels.expand(1, 3, -1, -1), size=16, taper=0.25)[0]
    stored = np.load(tmp_path / 'maps' / 'maps.npy')[3]
    np.testing.assert_allclose(stored, wanted, atol=2e-3)
    # a view of the same image, as training gets it
    batch = view_collate([dataset[0, index, 0] for index in (3, 1)])
    target = CachedSaliency(str(tmp_path / 'maps'), size=8, num_images=5)
    maps = target(batch['inputs'][1], batch['data_samples'], view=1)
    sample = batch['data_samples'][0]
    x0, y0, x1, y1 = (int(16 * side / 32 + 0.5)
                      for side in sample.view_boxes[1])
    part = torch.tensor(stored[y0:y1, x0:x1]).float()[None, None]
    near = F.interpolate(part, (8, 8), mode='bilinear')[0, 0]
    if sample.view_flips[1]:
        near = near.flip(1)
    assert torch.corrcoef(torch.stack(
        [near.flatten(), maps[0].flatten()]))[0, 1] > 0.9


@pytest.mark.unit
def test_what_it_cannot_do(call, tmp_path):
    code, said = call('--saliency', 'type=mimplug.SCDA')
    assert code == 1
    assert 'give it backbone' in said
    code, said = call('--saliency', 'type=mimplug.OnnxSaliency',
                      'path=none.onnx')
    assert code == 1
    assert 'none.onnx: no such file' in said
    other = CONFIG.replace('mimplug.KeyedDataset', 'KFoldDataset')
    (tmp_path / 'other.py').write_text(other)
    code, said = call(config='other.py')
    assert code == 1
    assert 'must be a mimplug.KeyedDataset' in said
    assert not (tmp_path / 'maps' / 'about.json').exists()
