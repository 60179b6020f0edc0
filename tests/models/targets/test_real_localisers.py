"""Frozen networks on real photographs."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import mimplug
from mimplug.converters import read_file
from mimplug.converters.keys_efficientnet import efficientnet_lite0_to_timm
from mimplug.datasets.assets import asset_path
from mimplug.errors import ConfigError
from mimplug.models.targets import (
    SCDA,
    OnnxSaliency,
    scda_foreground,
    spectral_residual,
)

PHOTOS = Path(mimplug.__file__).parent / 'data' / 'photos'
MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
# Boxes around the objects, drawn by eye: x0, y0, x1, y1 as shares.
OBJECTS = dict(coffee=(0.12, 0.03, 0.82, 0.97),
               chelsea=(0.0, 0.0, 0.85, 1.0),
               rocket=(0.46, 0.28, 0.54, 0.98))


def photos(names, side=224):
    """(M, 3, side, side) in 0..255."""
    read = [cv2.imread(str(PHOTOS / f'{name}.jpg'))[..., ::-1]
            for name in names]
    return torch.from_numpy(np.stack([
        cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        for image in read])).permute(0, 3, 1, 2).float()


def inside(name, side):
    """(side, side) bool, True in the box of the object."""
    x0, y0, x1, y1 = OBJECTS[name]
    place = (torch.arange(side) + 0.5) / side
    return ((place > x0) & (place < x1))[None] & (
        (place > y0) & (place < y1))[:, None]


@pytest.mark.asset('efficientnet-lite0')
def test_scda_of_efficientnet_finds_the_objects(tmp_path):
    pytest.importorskip('timm')
    path = tmp_path / 'lite0.pth'
    torch.save(efficientnet_lite0_to_timm(read_file(asset_path(
        'efficientnet-lite0', 'efficientnet-lite0-57934424.pth'))), path)
    target = SCDA(dict(
        type='TIMMBackbone', model_name='tf_efficientnet_lite0',
        init_cfg=dict(
            type='mimplug.Pretrained', checkpoint=str(path),
            converter='timm_backbone',
            allow_unexpected=('timm_model.classifier.*', ))),
        supervised=True)
    target.init_weights()
    maps = target((photos(OBJECTS) - 127.5) / 127.5)
    assert maps.shape == (3, 7, 7)
    fine = F.interpolate(maps[:, None], (224, 224), mode='bilinear')[:, 0]
    for name, one in zip(OBJECTS, fine):
        box = inside(name, 224)
        assert box.flatten()[one.argmax()], name
        assert one[box].mean() > 1.5 * one[~box].mean(), name
    share = scda_foreground(maps).float().mean((1, 2))
    assert ((share > 0.3) & (share < 0.8)).all()


@pytest.mark.full
@pytest.mark.asset('u2netp')
def test_u2net_cuts_the_objects_out():
    names = ('coffee', 'rocket')
    pixels = photos(names)
    target = OnnxSaliency(str(asset_path('u2netp', 'u2netp.onnx')))
    maps = target((pixels - MEAN) / STD)
    assert maps.shape == (2, 56, 56)
    assert maps.min() >= 0
    assert maps.max() <= 1
    for name, one in zip(names, maps):
        box = inside(name, 56)
        assert one[box].mean() > 0.4, name
        assert one[~box].mean() < 0.05, name
    # better than the formula, which knows no objects
    formula = spectral_residual(pixels)[0]
    formula = F.interpolate(formula[None, None], (56, 56))[0, 0]
    box = inside('coffee', 56)
    assert (maps[0, box].sum() / maps[0].sum()
            > formula[box].sum() / formula.sum())
    # no object: noise is not blown up
    assert target(torch.zeros(1, 3, 32, 32)).max() < 0.5
    assert target.record['sha256'].startswith('309c8469258dda74')


@pytest.mark.unit
def test_files_that_are_no_network(tmp_path):
    with pytest.raises(ConfigError, match='no such file'):
        OnnxSaliency(str(tmp_path / 'none.onnx'))
    path = tmp_path / 'text.onnx'
    path.write_text('no network')
    with pytest.raises(ConfigError, match='OpenCV cannot run it'):
        OnnxSaliency(str(path))
    with pytest.raises(ConfigError, match='mean='):
        OnnxSaliency(str(path), mean=(0.0, ))
    with pytest.raises(ConfigError, match='map_size=99'):
        OnnxSaliency(str(path), size=32, map_size=99)


@pytest.mark.asset('u2netp')
def test_an_output_that_is_not_there():
    path = str(asset_path('u2netp', 'u2netp.onnx'))
    with pytest.raises(ConfigError, match="output 'none'"):
        OnnxSaliency(path, output='none', size=64, map_size=8)
