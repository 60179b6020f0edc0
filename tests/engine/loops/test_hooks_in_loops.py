"""Hooks of MMEngine and ours that look at the training loop."""
from __future__ import annotations

import re

import pytest
from mmengine.hooks import EarlyStoppingHook, Hook
from toy_loop import ENDLESS, EPOCHS, ITERS, KEYED, SHUFFLED, make_run, resume

pytestmark = pytest.mark.e2e


class Lines(Hook):
    """The lines that the logger would write after each iteration."""

    def __init__(self):
        self.lines = []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        _, line = runner.log_processor.get_log_after_iter(
            runner, batch_idx, 'train')
        self.lines.append(re.sub(r'\s+', ' ', line.split('base_lr')[0]))


@pytest.mark.parametrize('cfg, sampler, by_epoch, expected', [
    (EPOCHS, KEYED, True, 'Epoch(train) [2][3/5] lr: 1.0000e-01 '),
    (ITERS, ENDLESS, False, 'Iter(train) [ 8/13] lr: 1.0000e-01 ')])
def test_log_lines_after_a_resume(tmp_path, cfg, sampler, by_epoch, expected):
    def lines(position=None, stop_at=None):
        log = Lines()
        runner = make_run(
            tmp_path, cfg, sampler, hooks=[log], stop_at=stop_at,
            log_processor=dict(by_epoch=by_epoch, custom_cfg=[dict(
                data_src='loss', window_size='epoch' if by_epoch else 3,
                method_name='mean', log_name='loss_mean')]))
        if position is not None:
            resume(runner, position)
        runner.train()
        return log.lines, runner.events

    whole, _ = lines()
    _, first = lines(stop_at=7)
    rest, _ = lines(first.positions['iter', 7])

    def heads(some):
        return [line.split('eta')[0] for line in some]

    assert heads(rest) == heads(whole)[7:]
    assert heads(rest)[0] == expected


def test_lengths_of_schedules_are_those_of_the_loop(tmp_path):
    # 27 samples: 6 whole batches, but the loader counts 3 steps of 2
    runner = make_run(
        tmp_path, EPOCHS, size=31, accumulation=3,
        param_scheduler=[
            dict(type='LinearLR', begin=0, end=2, start_factor=0.5,
                 convert_to_iter_based=True),
            dict(type='mimplug.WarmupCosineLR', final=0.0,
                 convert_to_iter_based=True)])
    runner.train()
    linear, cosine = runner.param_schedulers
    assert runner.max_iters == 18
    assert linear.end == 12
    assert cosine.total == 6


@pytest.mark.parametrize('cfg, sampler, ends', [
    (EPOCHS, KEYED, (2, 10)),
    (dict(ITERS, val_interval=3), ENDLESS, (0, 6))])
def test_early_stopping(tmp_path, cfg, sampler, ends):
    runner = make_run(
        tmp_path, cfg, sampler, validate=True,
        hooks=[EarlyStoppingHook('count', rule='greater', patience=1)])
    runner.train()
    assert (runner.epoch, runner.iter) == ends


class Intervals(Hook):
    """Iterations at which interval conditions hold."""

    def __init__(self):
        self.every, self.last, self.epochs = [], [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        if self.every_n_train_iters(runner, 4):
            self.every.append(runner.iter + 1)
        if self.end_of_epoch(runner.train_dataloader, batch_idx):
            self.epochs.append(runner.iter + 1)
        if self.is_last_train_iter(runner):
            self.last.append(runner.iter + 1)


def test_intervals_after_a_resume(tmp_path):
    first = make_run(tmp_path, EPOCHS, SHUFFLED, stop_at=6)
    first.train()
    hook = Intervals()
    second = make_run(tmp_path, EPOCHS, SHUFFLED, hooks=[hook])
    resume(second, first.events.positions['iter', 6])
    second.train()
    assert hook.every == [8, 12]
    assert hook.epochs == [10, 15]
    assert hook.last == [15]


class Frozen(Hook):

    priority = 'LOWEST'

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(bool(runner.optim_wrapper.frozen))


@pytest.mark.parametrize('cfg, sampler, size, expected', [
    # five batches an epoch
    (EPOCHS, KEYED, 22, [True] * 5 + [False] * 10),
    # a pass over 22 samples ends within the sixth batch
    (ITERS, ENDLESS, 22, [True] * 6 + [False] * 7)])
def test_frozen_for_one_pass_over_the_data(tmp_path, cfg, sampler, size,
                                           expected):
    hook = Frozen()
    freeze = dict(type='mimplug.FreezeHook', names=['bias'], epochs=1)
    runner = make_run(tmp_path, cfg, sampler, size=size, hooks=[freeze, hook],
                      stop_at=8)
    runner.train()
    assert hook.seen == expected[:8]
    again = Frozen()
    second = make_run(tmp_path, cfg, sampler, size=size,
                      hooks=[freeze, again])
    resume(second, runner.events.positions['iter', 4])
    second.train()
    assert again.seen == expected[4:]
