"""The filter of pre-training in front of any backbone."""
from __future__ import annotations

import copy
import logging
from types import SimpleNamespace

import pytest
import torch
from mmpretrain.registry import MODELS

from mimplug.engine.hooks import InputFilterHook
from mimplug.errors import CheckpointError, ConfigError
from mimplug.models.run_record import make_record
from mimplug.models.targets import HighPass

pytestmark = pytest.mark.unit
FILTER = dict(type='mimplug.HighPass', kernel_size=3, sigma=1.0)
RESNET = dict(type='ResNet', depth=18, stem_channels=4, base_channels=4)


def classifier(**backbone):
    torch.manual_seed(0)
    return MODELS.build(dict(
        type='ImageClassifier', backbone={**RESNET, **backbone},
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', in_channels=32, num_classes=3))
    ).eval()


def run_hook(model, *hooks):
    runner = SimpleNamespace(model=model, logger=logging.getLogger('filter'))
    for hook in hooks:
        hook.before_run(runner)
    return runner


def pretrained(path, input_filter):
    """A file of a pre-training run."""
    state = {f'backbone.{name}': value for name, value in
             MODELS.build(RESNET).state_dict().items()}
    torch.save(dict(state_dict=state, meta=dict(
        mimplug=make_record(input_filter))), path)
    return str(path)


def test_the_backbone_sees_filtered_images_once():
    images = torch.randn(2, 3, 32, 32)
    plain, model = classifier(), classifier()
    hook = InputFilterHook(FILTER)
    runner = run_hook(model, hook, hook)  # training, then test
    wanted = plain(HighPass(3, 1.0)(images))
    assert torch.equal(model(images), wanted)
    assert not torch.equal(plain(images), wanted)
    # a copy, as a moving average of the weights makes it
    assert torch.equal(copy.deepcopy(model)(images), wanted)
    assert set(model.state_dict()) == set(plain.state_dict())
    checkpoint = {}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint['meta']['mimplug'] == make_record(HighPass(3, 1.0))


def test_weights_want_the_filter_they_were_trained_with(tmp_path):
    path = pretrained(tmp_path / 'hp.pth', HighPass(3, 1.0))
    init = dict(type='mimplug.Pretrained', checkpoint=path,
                prefix='backbone.')
    with pytest.raises(CheckpointError, match='InputFilterHook'):
        classifier(init_cfg=init).init_weights()
    for hook in (InputFilterHook(FILTER), InputFilterHook(checkpoint=path)):
        model = classifier(init_cfg=init)
        run_hook(model, hook)
        model.init_weights()
        assert torch.equal(
            model.backbone.conv1.weight,
            torch.load(path)['state_dict']['backbone.conv1.weight'])
    model = classifier(init_cfg=init)
    run_hook(model, InputFilterHook(dict(type='mimplug.HighPass')))
    with pytest.raises(CheckpointError, match='must be equal'):
        model.init_weights()


def test_what_a_file_says(tmp_path):
    images = torch.randn(1, 3, 32, 32)
    model = classifier()
    before = model(images)
    path = pretrained(tmp_path / 'plain.pth', None)
    run_hook(model, InputFilterHook(checkpoint=path))
    assert torch.equal(model(images), before)
    torch.save(dict(state_dict={}, meta={}), path)
    with pytest.raises(ConfigError, match='does not say'):
        InputFilterHook(checkpoint=path)


def test_errors():
    for arguments in ({}, dict(input_filter=FILTER, checkpoint='x.pth')):
        with pytest.raises(ConfigError, match='one of the two'):
            InputFilterHook(**arguments)
    with pytest.raises(ConfigError, match='Linear has no backbone'):
        run_hook(torch.nn.Linear(1, 1), InputFilterHook(FILTER))
    model = classifier()
    with pytest.raises(ConfigError, match='has an input filter already'):
        run_hook(model, InputFilterHook(FILTER), InputFilterHook(FILTER))
    stock = MODELS.build(dict(
        type='SimSiam', backbone=RESNET, neck=dict(
            type='NonLinearNeck', in_channels=32, hid_channels=4,
            out_channels=4), head=dict(
                type='LatentPredictHead', loss=dict(
                    type='CosineSimilarityLoss'), predictor=dict(
                        type='NonLinearNeck', in_channels=4, hid_channels=4,
                        out_channels=4, with_avg_pool=False))))
    with pytest.raises(ConfigError, match='is a pre-training algorithm'):
        run_hook(stock, InputFilterHook(FILTER))
