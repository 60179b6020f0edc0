"""MoCo's names: there and back, as files, into MMPretrain and torchvision."""
from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS
from torchvision.models import resnet18
from toy_siamese import register, tiny_siamese

from mimplug.converters import MMPRETRAIN_MOCO, MOCO, Pretrained, load_strict
from mimplug.errors import CheckpointError

RESNET = dict(type='ResNet', depth=18, stem_channels=8, base_channels=8)
NECK = dict(type='MoCoV2Neck', in_channels=64, hid_channels=64,
            out_channels=8)


def model_of(kind: str, **kwargs):
    """MoCo of either package on a narrow ResNet-18."""
    register()
    return MODELS.build(dict(type=kind, backbone=RESNET, neck=NECK, **kwargs))


def random_state(model):
    """A state in which every tensor is something else."""
    torch.manual_seed(3)
    return {name: torch.randn_like(value)
            if value.is_floating_point() else value
            for name, value in model.state_dict().items()}


def equal(one, two):
    """The same names and numbers."""
    assert one.keys() == two.keys()
    assert [name for name in one if not torch.equal(one[name], two[name])
            ] == []


@pytest.mark.golden('saliency_moco', 'moco_step_sd0', 'shuffle_2rank')
def test_the_release(golden):
    theirs = golden.tree('sd/')
    ours = MOCO.read(theirs)
    width = len(ours['backbone.bn1.weight'])
    register()
    model = MODELS.build(dict(
        type='mimplug.MoCo', queue=theirs['queue'].shape[1],
        backbone=dict(RESNET, stem_channels=width, base_channels=width),
        neck=dict(NECK, in_channels=8 * width, hid_channels=8 * width,
                  out_channels=theirs['queue'].shape[0]))).double()
    load_strict(model, ours)
    equal(MOCO.write(model.state_dict()), theirs)


@pytest.mark.golden('mixmask', 'moco_step_sd0', 'moco_step_both_sd0')
def test_mixmask(golden):
    theirs = golden.tree('sd/')
    equal(MOCO.write(MOCO.read(theirs)), theirs)


@pytest.mark.unit
def test_a_file_of_the_release_starts_a_backbone(tmp_path):
    model = model_of('mimplug.MoCo', queue=6)
    theirs = MOCO.write(random_state(model))
    file = tmp_path / '0200.pth.tar'
    torch.save(dict(epoch=200, arch='resnet50', state_dict={
        f'module.{name}': value for name, value in theirs.items()}), file)
    for prefix, part in (('backbone.', 'encoder_q.'),
                         ('teacher.backbone.', 'encoder_k.')):
        backbone = MODELS.build(dict(RESNET, init_cfg=dict(
            type='mimplug.Pretrained', checkpoint=str(file),
            converter='moco', prefix=prefix)))
        backbone.init_weights()
        for name, value in backbone.state_dict().items():
            assert torch.equal(value, theirs[part + name]), name
    whole = Pretrained(str(file), converter='moco')
    assert whole(model).share == 1


@pytest.mark.unit
def test_names_of_the_backbone_are_those_of_torchvision():
    model = MODELS.build(dict(
        RESNET, stem_channels=64, base_channels=64))
    names = set(model.state_dict())
    assert names == {name for name in resnet18().state_dict()
                     if not name.startswith('fc.')}


@pytest.mark.unit
def test_mmpretrain_and_back():
    ours = model_of('mimplug.MoCo', queue=6)
    state = dict(random_state(ours))
    state['queue.written'] = torch.ones(6, dtype=torch.bool)
    theirs = MMPRETRAIN_MOCO.write(state)
    stock = model_of('mmpretrain.MoCo', queue_len=6, feat_dim=8, head=dict(
        type='ContrastiveHead', loss=dict(type='CrossEntropyLoss')))
    load_strict(stock, theirs)
    equal(MMPRETRAIN_MOCO.read(stock.state_dict()), state)
    # the first update of a stock model must not copy all weights
    assert stock.encoder_k.steps > 0


@pytest.mark.unit
def test_linear_projectors_of_the_first_version():
    theirs = {'encoder_q.fc.weight': torch.zeros(8, 4),
              'encoder_k.fc.bias': torch.zeros(8)}
    ours = MOCO.read(theirs)
    assert set(ours) == {'neck.fc.weight', 'teacher.neck.fc.bias'}
    equal(MOCO.write(ours), theirs)


@pytest.mark.unit
@pytest.mark.parametrize('names,message', [
    (['queue'], 'queue_ptr'), (['predictor.weight'], 'predictor')])
def test_refuses(names, message):
    with pytest.raises(CheckpointError, match=message):
        MOCO.read({name: torch.zeros(2, 2) for name in names})


@pytest.mark.unit
def test_a_backbone_alone_starts_the_key_encoder_as_well():
    model = tiny_siamese('MoCo')
    state = {name: torch.ones_like(value) for name, value
             in model.backbone.state_dict().items()}
    model.load_state_dict(
        {f'backbone.{name}': value for name, value in state.items()},
        strict=False)
    equal(model.teacher.backbone.state_dict(), state)
