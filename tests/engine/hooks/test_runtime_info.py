"""The log: read at once, at the right moments, bounded."""
from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from mmengine.fileio import dump
from mmengine.hooks import Hook, LoggerHook
from mmengine.model import BaseModel
from mmengine.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mimplug.engine.hooks import RuntimeInfoHook
from mimplug.engine.hooks.runtime_info import (
    IterationClock,
    ScalarBuffer,
    is_log_point,
    peak_resident,
)
from mimplug.errors import ConfigError

OURS = dict(runtime_info=dict(type='mimplug.RuntimeInfoHook'))


class Plain(BaseModel):
    """A stock algorithm: no progress, no teacher."""

    def __init__(self, broken=()):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Linear(2, 2)
        self.broken = broken
        self.calls = 0

    def forward(self, inputs, data_samples=None, mode='tensor'):
        loss = self.body(torch.stack(inputs)).square().mean()
        if self.calls in self.broken:
            loss = loss * float('nan')
        self.calls += 1
        return dict(loss=loss, **{'raw/twice': loss.detach() * 2})


def watch(runner):
    """The records that the logger writes, as they come back from a file."""
    rows = []
    runner.visualizer.add_scalars = lambda tag, **kwargs: rows.append(
        json.loads(dump(tag, file_format='json')))
    return rows


def hooks(interval, **kwargs):
    return dict(OURS, logger=dict(
        type='LoggerHook', interval=interval, **kwargs))


@pytest.mark.unit
def test_a_number_on_the_host_beside_a_device():
    buffer = ScalarBuffer()
    buffer.add(dict(loss=torch.ones((), device='meta'), a=torch.tensor(2.5),
                    b=3))
    assert buffer.rows == [(('loss', ), dict(a=2.5, b=3.0))]
    vector, = buffer.vectors
    assert vector.is_meta
    assert len(vector) == 1


@pytest.mark.e2e
@pytest.mark.parametrize('interval, ignore_last', [
    (1, True), (2, True), (2, False), (4, True), (10, True)])
def test_logs_what_the_stock_hook_logs(make_runner, interval, ignore_last):
    """Same lines, same values; ours has more columns."""
    logs = []
    for name, own in (('stock', {}), ('own', OURS)):
        runner = make_runner(
            model=Plain(), name=f'{name}-{interval}-{ignore_last}',
            default_hooks=dict(hooks(
                interval, ignore_last=ignore_last), **(own or dict(
                    runtime_info=dict(type='RuntimeInfoHook')))))
        logs.append(watch(runner))
        runner.train()
    stock, own = logs
    assert [row['iter'] for row in own] == [row['iter'] for row in stock]
    for theirs, ours in zip(stock, own):
        for key in set(theirs) - {'time', 'data_time'}:
            assert ours[key] == pytest.approx(theirs[key], rel=1e-6), key
        assert set(ours) - set(theirs) == {
            'grad_norm', 'images/s', 'data_wait', 'memory'}
        assert ours['images/s'] > 0
        assert 0 <= ours['data_wait'] <= 1
        assert 0 < ours['memory'] <= peak_resident()


@pytest.mark.e2e
def test_iteration_based_runs(make_runner):
    runner = make_runner(model=Plain(), default_hooks=hooks(3),
                         log_processor=dict(by_epoch=False))
    runner._train_loop = dict(type='IterBasedTrainLoop', max_iters=8,
                              val_interval=100)
    rows = watch(runner)
    runner.train()
    assert [row['iter'] for row in rows] == [3, 6]
    # nothing of the last iterations is lost
    assert len(runner.message_hub.get_scalar('train/loss').data[0]) == 8


@pytest.mark.e2e
def test_a_stock_algorithm_trains(make_runner):
    """MAE as MMPretrain ships it, without TeacherHook."""
    vit = dict(embed_dims=16, num_layers=1, num_heads=2,
               feedforward_channels=16)
    model = MODELS.build(dict(
        type='mmpretrain.MAE', backbone=dict(
            type='MAEViT', arch=vit, img_size=16, patch_size=4),
        neck=dict(
            type='MAEPretrainDecoder', num_patches=16, patch_size=4,
            in_chans=3, embed_dim=16, decoder_embed_dim=16, decoder_depth=1,
            decoder_num_heads=2),
        head=dict(type='MAEPretrainHead', norm_pix=True, patch_size=4,
                  loss=dict(type='PixelReconstructionLoss', criterion='L2')),
        data_preprocessor=dict(type='SelfSupDataPreprocessor')))
    runner = make_runner(model=model, default_hooks=dict(
        hooks(2), non_finite=dict(type='mimplug.NonFiniteHook')))
    runner._train_dataloader.update(
        collate_fn=dict(type='default_collate'), dataset=[
            dict(inputs=torch.rand(3, 16, 16), data_samples=DataSample())
            for _ in range(10)])
    rows = watch(runner)
    runner.train()
    assert [row['iter'] for row in rows] == [2, 4, 7, 9]
    assert rows[-1]['loss'] < rows[0]['loss']
    assert runner.optim_wrapper.optimizer.param_groups[0]['fused']


class Record(Hook):
    """Length of the history, as the logger sees it."""

    priority = 'HIGH'

    def __init__(self, key='train/loss'):
        self.key, self.lengths = key, []

    def after_train_iter(self, runner, batch_idx, data_batch=None,
                         outputs=None):
        found = runner.message_hub.log_scalars.get(self.key)
        self.lengths.append(0 if found is None else len(found.data[0]))


@pytest.mark.e2e
def test_values_arrive_at_log_points_only(make_runner):
    record = Record()
    make_runner([record], model=Plain(), default_hooks=hooks(4)).train()
    # two epochs of five: at the fourth iteration and at the epoch's end
    assert record.lengths == [0, 0, 0, 4, 5, 5, 5, 5, 9, 10]


@pytest.mark.e2e
def test_norm_once_an_optimiser_step(make_runner):
    record = Record('train/grad_norm')
    make_runner([record], model=Plain(), accumulation=2,
                default_hooks=hooks(5)).train()
    assert record.lengths[4] == 2  # after five iterations
    assert record.lengths[-1] == 5


@pytest.mark.e2e
def test_skipped_steps_are_shown_once_there_are_any(make_runner):
    runner = make_runner(model=Plain(broken=(3, 6)), default_hooks=hooks(1))
    rows = watch(runner)
    runner.train()
    shown = [row.get('skipped') for row in rows]
    assert shown == [None, None, None, 1, 1, 1, 2, 2, 2, 2]
    norms = runner.message_hub.get_scalar('train/grad_norm').data[0]
    assert len(norms) == 8  # those of skipped steps are left out
    assert runner.optim_wrapper.known_skipped == 2
    assert runner.optim_wrapper.known_consecutive == 0


@pytest.mark.e2e
def test_history_is_bounded(make_runner):
    runner = make_runner(
        model=Plain(), epochs=4, log_processor=dict(window_size=3),
        default_hooks=dict(
            runtime_info=dict(type='mimplug.RuntimeInfoHook', history=4),
            logger=dict(type='LoggerHook', interval=1)))
    runner.train()
    history = runner.message_hub.log_scalars
    for key in ('loss', 'lr', 'time', 'data_time', 'images/s'):
        assert len(history[f'train/{key}'].data[0]) <= 5, key
    assert len(history['train/loss'].data[0]) == 4


@pytest.mark.unit
@pytest.mark.parametrize('window, limit', [
    (7, 7), ('epoch', 40), ('global', 90), (2, 5)])
def test_the_log_gets_the_history_it_averages_over(window, limit):
    hook = RuntimeInfoHook(history=5)
    loader = SimpleNamespace(dataset=None, __len__=None)
    loader = type('Loader', (), {'__len__': lambda self: 40})()
    loader.dataset = None
    runner = SimpleNamespace(
        train_dataloader=loader, max_iters=90, max_epochs=3, epoch=0, iter=0,
        message_hub=SimpleNamespace(update_info=lambda *args: None),
        log_processor=SimpleNamespace(window_size=3, custom_cfg=[
            dict(data_src='loss', window_size=window),
            dict(data_src='time')]))
    hook.before_train(runner)
    assert hook.limit == limit


@pytest.mark.unit
def test_buffer_keeps_values_not_tensors():
    buffer = ScalarBuffer()
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * 2).sum()
    counter = torch.tensor(5)
    buffer.add(dict(loss=loss, counter=counter, host=3))
    counter += 1
    buffer.add(dict(exact=torch.tensor(1 / 3, dtype=torch.float64)))
    buffer.add({})
    assert not any(vector.requires_grad for vector in buffer.vectors)
    rows, extra = buffer.read(torch.tensor(2**40 + 1))
    assert rows == [dict(loss=6.0, counter=5.0, host=3.0),
                    dict(exact=1 / 3), {}]
    assert extra == [2**40 + 1]
    assert buffer.read() == ([], [])


@pytest.mark.unit
def test_one_copy_for_any_number_of_values(monkeypatch):
    calls = []
    tolist = torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, 'tolist', lambda self: (
        calls.append(self.shape), tolist(self))[1])
    buffer = ScalarBuffer()
    for _ in range(50):
        buffer.add(dict(a=torch.zeros(()), b=torch.ones(1)))
    buffer.read(torch.zeros(()), torch.zeros(()))
    assert calls == [(102,)]


@pytest.mark.unit
def test_log_points():
    def points(interval, length, max_iters, by_epoch=True):
        logger = [LoggerHook(interval=interval)] if interval else []
        return [i for i in range(max_iters) if is_log_point(
            SimpleNamespace(hooks=logger, iter=i, max_iters=max_iters,
                            train_dataloader=range(length)),
            i % length if by_epoch else i)]

    assert points(3, 5, 10) == [2, 4, 7, 9]
    assert points(3, 100, 8, by_epoch=False) == [2, 5, 7]
    assert points(None, 100, 25) == [9, 19, 24]


@pytest.mark.unit
def test_clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr('time.perf_counter', lambda: now[0])
    clock = IterationClock()

    def iteration(wait, work, after):
        now[0] += wait
        clock.arrived(8)
        now[0] += work
        figures = clock.figures() if after is None else None
        now[0] += after or 0
        clock.after_train_iter(None, 0)
        return figures

    now[0] += 100  # building the run
    clock.before_train_epoch(None)
    iteration(1, 2, 1)
    now[0] += 50  # a validation
    clock.after_val(None)
    figures = iteration(3, 1, None)
    assert figures == {'images/s': 16 / 8, 'data_wait': 0.5}
    now[0] += 5  # writing a checkpoint is no waiting
    clock.after_train_iter(None, 0)
    assert iteration(0, 5, None) == {'images/s': 0.8, 'data_wait': 0}
    assert clock.figures() == {}  # no time, no rate


@pytest.mark.unit
def test_errors():
    with pytest.raises(ConfigError, match='history=0: must be >= 1'):
        RuntimeInfoHook(history=0)
