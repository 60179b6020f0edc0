"""The limit of gradient norms changes with the epoch."""
from __future__ import annotations

import pytest
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mimplug.errors import ConfigError


class Watch(Hook):
    """Remembers the limit of every iteration."""

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(runner.optim_wrapper.clip['max_norm'])


@pytest.mark.e2e
@pytest.mark.parametrize('epoch', [0, 1, 2, 9])
def test_limit_of_every_iteration(make_runner, epoch):
    watch = Watch()
    runner = make_runner(
        [dict(type='mimplug.TeacherHook'), watch,
         dict(type='mimplug.ClipHook', epoch=epoch, max_norm=0.1)],
        epochs=3, name=str(epoch))
    runner.train()
    assert watch.seen == [
        0.1 if i // 5 >= epoch else 1.0 for i in range(15)]


@pytest.mark.unit
@pytest.mark.parametrize('settings, message', [
    (dict(epoch=-1, max_norm=1.0), 'epoch=-1'),
    (dict(epoch=1, max_norm=0.0), r'max_norm=0\.0'),
])
def test_errors(settings, message):
    with pytest.raises(ConfigError, match=message):
        HOOKS.build(dict(type='mimplug.ClipHook', **settings))


@pytest.mark.e2e
def test_a_wrapper_that_does_not_clip(make_runner):
    runner = make_runner(
        [dict(type='mimplug.ClipHook', epoch=1, max_norm=0.1)],
        optim_wrapper=dict(
            type='mimplug.OptimWrapper',
            constructor='mimplug.TwoGroupConstructor',
            optimizer=dict(type='AdamW', lr=0.1)))
    with pytest.raises(ConfigError, match='clip_grad'):
        runner.train()
