"""What ``mimplug.Pretrained`` says about files that do not fit."""
from __future__ import annotations

import logging

import pytest
import torch
from mmengine.logging import MMLogger
from mmpretrain.models import VisionTransformer
from toy_vit import SIZES, save

from mimplug.converters import TIMM, Pretrained
from mimplug.errors import CheckpointError, ConfigError


@pytest.mark.unit
@pytest.mark.parametrize('options, words', [
    (dict(key='teachr'), "did you mean 'teacher'"),
    (dict(key='teacher', prefix='backbon.'), "did you mean 'backbone.'"),
    (dict(key='teacher'), 'layers.0.ln1.weight .nearest: backbone.layers'),
    (dict(), 'choose one by key='),
])
def test_messages(tmp_path, weights, options, words):
    path = save(tmp_path / 'a.pth', dict(
        teacher={f'backbone.{n}': v for n, v in weights.items()},
        student=weights))
    with pytest.raises(CheckpointError, match=words):
        Pretrained(path, **options)(VisionTransformer(**SIZES))


@pytest.mark.unit
def test_hint_names_the_converter(tmp_path, weights):
    path = save(tmp_path / 'a.pth', TIMM.write(weights))
    with pytest.raises(CheckpointError, match="hint: converter='timm' fits"):
        Pretrained(path)(VisionTransformer(**SIZES))


@pytest.mark.unit
def test_no_hint_from_names_that_collide(tmp_path):
    names = ('weight_g', 'parametrizations.weight.original0')
    path = save(tmp_path / 'a.pth', {
        f'head.last_layer.{name}': torch.ones(1) for name in names})
    with pytest.raises(CheckpointError, match='does not fit') as caught:
        Pretrained(path)(VisionTransformer(**SIZES))
    assert '  hint: ' not in str(caught.value)


@pytest.mark.unit
def test_a_partial_load_is_logged_with_names(tmp_path, weights):
    del weights['ln1.bias']
    path = save(tmp_path / 'a.pth', weights)
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    try:
        Pretrained(path, min_share=0.9)(VisionTransformer(**SIZES))
    finally:
        logger.removeHandler(handler)
    assert [line for line in lines if line.levelno == logging.WARNING
            and 'ln1.bias' in line.getMessage()]


@pytest.mark.unit
@pytest.mark.parametrize('options, words', [
    (dict(min_share=1.5), r'min_share=1\.5'),
    (dict(allow_missing='head.*'), 'allowed is a list'),
    (dict(converter='tim'), "did you mean 'timm'"),
])
def test_bad_settings_fail_at_build(options, words):
    with pytest.raises(ConfigError, match=words):
        Pretrained('a.pth', **options)
