"""SCDA: a frozen network, or the model's own encoder."""
from __future__ import annotations

import copy

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn

from mimplug.errors import CheckpointError, ConfigError
from mimplug.models.run_record import mark_filtered
from mimplug.models.targets import SCDA, HighPass, build_saliency, scda_map

pytestmark = pytest.mark.unit
RESNET = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4)


def images(size=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, 3, size, size, generator=generator)


def resnet(**kwargs) -> nn.Module:
    """A small one whose running statistics are no zeros and ones."""
    torch.manual_seed(0)
    network = MODELS.build({**RESNET, **kwargs})
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.1)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    return network


def state_of(network):
    return copy.deepcopy(network.state_dict()), [
        part.training for part in network.modules()]


@pytest.mark.parametrize('kind', ['ResNet', 'ResNet_CIFAR'])
@pytest.mark.parametrize('stage', [0, 1, 2, 3, -1, -2])
def test_any_stage_of_an_encoder_that_gives_only_its_last(kind, stage):
    encoder = resnet(type=kind)
    encoder.train()
    before = state_of(encoder)
    attributes = encoder.out_indices, list(encoder.res_layers)
    got = SCDA(stage=stage)(images(), encoder=encoder)
    # the same weights, built for all stages
    full = resnet(type=kind, out_indices=(0, 1, 2, 3))
    full.load_state_dict(encoder.state_dict())
    full.eval()
    assert torch.equal(got, scda_map(full(images())[stage]))
    assert not got.requires_grad
    after = state_of(encoder)
    assert before[1] == after[1]
    assert all(torch.equal(before[0][name], after[0][name])
               for name in before[0])
    assert attributes == (encoder.out_indices, encoder.res_layers)


def test_a_frozen_network_is_no_part_of_the_model():
    target = build_saliency(dict(type='mimplug.SCDA', backbone=RESNET))
    holder = nn.ModuleDict(dict(target=target))
    holder.train()
    assert not list(holder.parameters())
    assert not holder.state_dict()
    network = target._network[0]
    assert not any(part.training for part in network.modules())
    assert not any(value.requires_grad for value in network.parameters())
    # but it moves with it
    holder.double()
    got = target(images().double())
    assert got.shape == (2, 2, 2)
    assert got.dtype == torch.float32
    assert target.record['network'] == 'ResNet'


def test_odd_sizes_one_image_and_bfloat16():
    target = SCDA(RESNET, stage=1)
    assert target(images(33)[:1]).shape == (1, 5, 5)
    with torch.autocast('cpu', torch.bfloat16):
        low = target(images())
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, target(images()), rtol=0.1, atol=0.3)


def test_weights_by_path(tmp_path):
    source = resnet()
    path = tmp_path / 'torchvision.pth'
    torch.save({**source.state_dict(), 'fc.weight': torch.ones(2, 2)}, path)
    init = dict(type='mimplug.Pretrained', checkpoint=str(path),
                allow_unexpected=('fc.*', ))
    target = SCDA(dict(RESNET, init_cfg=init), supervised=True)
    target.init_weights()
    source.eval()
    assert torch.equal(target(images()), scda_map(source(images())[-1]))
    record = target.record
    assert record['supervised'] is True
    assert record['weights'] == str(path)
    assert len(record['sha256']) == 64
    path.unlink()
    with pytest.raises(ConfigError, match=r'torchvision\.pth: no such file'):
        SCDA(dict(RESNET, init_cfg=init))


def test_the_encoders_filter_comes_first():
    encoder, pixels = resnet(), images()
    plain = SCDA()(HighPass()(pixels), encoder=encoder)
    assert not torch.equal(plain, SCDA()(pixels, encoder=encoder))
    mark_filtered(encoder, HighPass())
    assert torch.equal(plain, SCDA()(pixels, encoder=encoder))
    own = SCDA(resnet(), input_filter=dict(type='mimplug.HighPass'))
    assert torch.equal(own(pixels), plain)


def test_weights_of_filtered_images_want_the_filter(tmp_path):
    path = tmp_path / 'hp.pth'
    torch.save(dict(state_dict=resnet().state_dict(), meta=dict(mimplug=dict(
        input_filter=HighPass().record, saliency=None))), path)
    backbone = dict(RESNET, init_cfg=dict(
        type='mimplug.Pretrained', checkpoint=str(path)))
    with pytest.raises(CheckpointError, match='input_filter=dict'):
        SCDA(backbone).init_weights()
    SCDA(backbone, input_filter=dict(type='mimplug.HighPass')).init_weights()


def test_errors():
    with pytest.raises(ConfigError, match='has 4 stages'):
        SCDA(RESNET, stage=4)
    with pytest.raises(ConfigError, match='not a residual network'):
        SCDA(dict(type='VGG', depth=11), stage=1)
    with pytest.raises(ConfigError, match='leave it out'):
        SCDA(input_filter=dict(type='mimplug.HighPass'))
    with pytest.raises(ConfigError, match='was given no encoder'):
        SCDA()(images())
    with pytest.raises(ConfigError, match='gives no feature map'):
        SCDA()(images(), encoder=nn.Flatten())
    with pytest.raises(ConfigError, match='not at hand here'):
        build_saliency(dict(type='mimplug.SCDA'), has_encoder=False)
    with pytest.raises(ConfigError, match='gives no saliency'):
        build_saliency(dict(type='ResNet', depth=18))
    assert build_saliency(None) is None
