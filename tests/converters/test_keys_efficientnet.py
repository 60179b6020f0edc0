"""EfficientNet-Lite0 of a public package in timm."""
from __future__ import annotations

import re

import pytest
import timm
import torch
import torchvision.transforms.functional as TF
from PIL import Image

from mimplug.converters import read_file
from mimplug.converters.keys_efficientnet import efficientnet_lite0_to_timm
from mimplug.datasets.assets import asset_path
from mimplug.errors import CheckpointError

WEIGHTS = ('efficientnet-lite0', 'efficientnet-lite0-57934424.pth')


@pytest.mark.unit
def test_names_without_a_rule_are_refused():
    tensor = torch.zeros(1)
    assert list(efficientnet_lite0_to_timm({
        '_conv_stem.weight': tensor, '_blocks.0._bn2.bias': tensor,
        '_blocks.15._bn2.bias': tensor})) == [
            'conv_stem.weight', 'blocks.0.0.bn2.bias', 'blocks.6.0.bn3.bias']
    for name in ('conv_stem.weight', '_blocks.16._bn2.bias',
                 '_blocks.0._expand_conv.weight'):
        with pytest.raises(CheckpointError, match=re.escape(name)):
            efficientnet_lite0_to_timm({name: tensor})


@pytest.mark.asset(*WEIGHTS)
@pytest.mark.asset('foolbox')
@pytest.mark.unit
@torch.no_grad()
def test_imagenet_pictures_are_recognised():
    network = timm.create_model('tf_efficientnet_lite0').eval()
    network.load_state_dict(
        efficientnet_lite0_to_timm(read_file(asset_path(*WEIGHTS))))
    right = 0
    for path in sorted(asset_path('foolbox').glob('imagenet_*')):
        image = TF.resize(Image.open(path).convert('RGB'), 256,
                          TF.InterpolationMode.BICUBIC)
        image = TF.center_crop(TF.to_tensor(image), [224, 224])
        label = int(path.stem.split('_')[-1])
        right += int(network((image[None] - 0.5) / 0.5).argmax()) == label
    # wrong padding or normalisation gives 14 or 15
    assert right >= 17
