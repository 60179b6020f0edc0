"""Mistyped names in configs: the message says what was meant."""
from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS, MODELS, DefaultScope

from mimplug.cli._build import build_runner, clear_errors
from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def message(registry, cfg):
    with pytest.raises(ConfigError) as info, clear_errors():
        registry.build(cfg)
    return str(info.value)


def test_mistyped_class_of_ours():
    text = message(MODELS, dict(type='mimplug.MaskdViT'))
    assert "type='mimplug.MaskdViT'" in text
    assert "did you mean 'mimplug.MaskedViT'" in text


def test_mistyped_class_of_the_default_scope():
    text = message(MODELS, dict(type='VisionTransfomer'))
    assert "did you mean 'VisionTransformer'" in text


def test_forgotten_prefix():
    text = message(HOOKS, dict(type='TeacherHook'))
    assert "did you mean 'mimplug.TeacherHook'" in text


def test_mistyped_package():
    text = message(MODELS, dict(type='mimplgu.MaskedViT'))
    assert "did you mean 'mimplug'" in text


def test_nothing_is_near():
    text = message(MODELS, dict(type='mimplug.Zzzzzz'))
    assert 'mimplug.MaskedViT' in text
    assert 'did you mean' not in text


def test_mistyped_argument():
    text = message(MODELS, dict(type='mimplug.MaskedViT', drop_path_rat=0.1))
    assert "MaskedViT does not take 'drop_path_rat'" in text
    assert "did you mean 'drop_path_rate'" in text


@pytest.mark.parametrize('error', [
    KeyError('some key'), TypeError('not a call'), KeyError()])
def test_other_errors_pass_unchanged(error):
    with pytest.raises(type(error)) as info, clear_errors():
        raise error
    assert info.value is error


def test_errors_of_the_runner(toy_config, tmp_path):
    cfg = Config.fromfile(str(toy_config))
    cfg.work_dir = str(tmp_path)
    cfg.default_hooks.logger.type = 'LogerHook'
    with pytest.raises(ConfigError, match="did you mean 'LoggerHook'"):
        build_runner(cfg)
