"""The validation loop and the report inside MMEngine's runner."""
import json
import re
from itertools import count

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from toy_knn import ToyAlgorithm, ToyImages, loader_config

from mimplug.errors import ConfigError
from mimplug.evaluation.report import FILE_NAME, format_report, pixels

names = count()


def build_runner(tmp_path, *, max_epochs=2, hooks=(), bank=None, queries=None,
                 checkpoint=None, val_begin=1, model=None, **loop):
    """A run whose validation is ours and nothing else is set up."""
    bank = ToyImages(40) if bank is None else bank
    queries = ToyImages(12, seed=1) if queries is None else queries
    torch.manual_seed(0)
    return Runner(
        model=model or ToyAlgorithm(), work_dir=str(tmp_path),
        train_dataloader=loader_config(ToyImages(8), batch_size=4),
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs,
                       val_begin=val_begin),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        val_dataloader=loader_config(queries),
        val_cfg=dict(type='mimplug.KNNValLoop', bank=loader_config(bank),
                     **dict(dict(k=(5, 20)), **loop)),
        val_evaluator=[],
        default_hooks=dict(checkpoint=dict(
            type='CheckpointHook', interval=1, **(checkpoint or {}))),
        custom_hooks=list(hooks), default_scope='mmpretrain',
        experiment_name=f'knn-loop-{next(names)}',  # apart in one second
        visualizer=dict(type='Visualizer', vis_backends=[
            dict(type='LocalVisBackend')]),
        randomness=dict(seed=0))


class Recorder(Hook):

    def __init__(self):
        self.calls = []
        self.metrics = None

    def before_val_epoch(self, runner):
        self.calls.append('epoch')

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.calls.append(batch_idx)

    def after_val_iter(self, runner, batch_idx, data_batch=None,
                       outputs=None):
        self.calls.append(-batch_idx)

    def after_val_epoch(self, runner, metrics=None):
        self.metrics = metrics


def scalars(tmp_path):
    """Every line that the local backend wrote."""
    path, = tmp_path.rglob('vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.e2e
def test_metrics_reach_every_hook(tmp_path):
    recorder = Recorder()
    runner = build_runner(
        tmp_path, hooks=[recorder],
        checkpoint=dict(save_best='knn/top1_k20', rule='greater'))
    runner.train()
    assert recorder.calls == ['epoch', 0, 0, 1, -1, 2, -2] * 2
    assert set(recorder.metrics) == {
        'knn/top1_k5', 'knn/top5_k5', 'knn/top1_k20', 'knn/top5_k20'}
    assert list(tmp_path.glob('best_knn_top1_k20_epoch_*.pth'))
    logged = [line for line in scalars(tmp_path) if 'knn/top1_k20' in line]
    assert [line['step'] for line in logged] == [1, 2]
    assert logged[1]['knn/top1_k20'] == pytest.approx(
        recorder.metrics['knn/top1_k20'])
    log, = tmp_path.rglob('*.log')
    assert 'knn/top1_k20: ' in log.read_text()


@pytest.mark.unit
def test_loop_measures_what_it_is_told_to(tmp_path):
    runner = build_runner(tmp_path, k=3, temperature=0.2, key='student',
                          fp16=True, clustering=True)
    metrics = runner.val_loop.run()
    assert 'cluster/nmi' in metrics
    protocol = runner.val_loop.protocol
    assert (protocol.k, protocol.temperature, protocol.key, protocol.fp16) == (
        (3,), 0.2, 'student', True)


@pytest.mark.unit
def test_settings_survive_a_config_file(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("val_cfg = dict(type='mimplug.KNNValLoop', k=[5, 10])\n")
    k = Config.fromfile(path).val_cfg.k
    assert build_runner(tmp_path, k=k).val_loop.protocol.k == (5, 10)


@pytest.mark.unit
@pytest.mark.parametrize('changes, text', [
    (dict(bank=ToyImages(40, labelled=0)), 'k-NN needs labels.*val_cfg'),
    (dict(queries=ToyImages(9, labelled=0)), 'k-NN needs labels.*queries'),
    (dict(k=41), 'k=41: the bank has 40 images'),
    (dict(key='teatcher'), "did you mean 'teacher'"),
])
def test_wrong_settings_fail_before_the_first_step(tmp_path, changes, text):
    runner = build_runner(tmp_path, **changes)
    with pytest.raises(ConfigError, match=text):
        runner.train()
    assert runner.iter == 0


@pytest.mark.unit
def test_an_evaluator_is_not_ignored(tmp_path):
    runner = build_runner(tmp_path)
    runner._val_evaluator = [dict(type='Accuracy')]
    with pytest.raises(ConfigError, match=r'val_evaluator=\[\]'):
        runner.build_val_loop(runner._val_loop)


REPORT = dict(type='mimplug.KNNReportHook')


def read_report(tmp_path):
    return json.loads((tmp_path / FILE_NAME).read_text())


@pytest.mark.e2e
@pytest.mark.parametrize('val_begin', [1, 9])  # 9: no validation at the end
def test_report(tmp_path, val_begin):
    recorder = Recorder()
    runner = build_runner(tmp_path, hooks=[dict(REPORT), recorder],
                          val_begin=val_begin)
    before = runner.build_val_loop(runner._val_loop).measure()
    runner.train()
    report = read_report(tmp_path)
    assert report['step0'] == before
    assert report['end'] == runner.val_loop.measure()
    assert report['iterations'] == 4
    assert report['chance'] == 25.0  # 3 of 12 queries a class
    assert (report['bank_images'], report['query_images']) == (40, 12)
    assert (report['network'], report['k']) == ('teacher', 20)
    assert report['pixels']['knn/top1_k20'] > 60  # patterns in weak noise
    # the measurement before training is no validation for other hooks
    assert recorder.calls.count('epoch') == (2 if val_begin == 1 else 0)
    first = next(line for line in scalars(tmp_path) if 'knn/top1_k20' in line)
    assert first['step'] == 0
    log, = tmp_path.rglob('*.log')
    assert 'raw pixels, normalised' in log.read_text()


@pytest.mark.e2e
@pytest.mark.parametrize('source', ['checkpoint', 'file', 'nowhere'])
def test_resumed_run_keeps_its_baselines(tmp_path, source):
    runner = build_runner(tmp_path, max_epochs=1, hooks=[dict(REPORT)])
    runner.train()
    first = read_report(tmp_path)
    if source != 'checkpoint':
        path = tmp_path / 'epoch_1.pth'
        weights = torch.load(path, weights_only=False)
        del weights['message_hub']['runtime_info']['knn_report']
        torch.save(weights, path)
    if source != 'file':
        (tmp_path / FILE_NAME).unlink()
    again = build_runner(tmp_path, max_epochs=2, hooks=[dict(REPORT)])
    again.resume(str(tmp_path / 'epoch_1.pth'))
    again._has_loaded = True
    with torch.no_grad():  # weights that must not pass for step 0
        for parameter in again.model.parameters():
            parameter.zero_()
    again.train()
    report = read_report(tmp_path)
    assert report['iterations'] == 4
    if source == 'nowhere':
        assert 'step0' not in report
        assert 'n/a' in format_report(report)
    else:
        for name in ('step0', 'pixels', 'chance', 'bank_images'):
            assert report[name] == first[name]


@pytest.mark.unit
def test_report_settings(tmp_path):
    runner = build_runner(tmp_path, hooks=[dict(REPORT, k=7)])
    with pytest.raises(ConfigError, match='k=7; allowed: 5, 20'):
        runner.train()


@pytest.mark.e2e
def test_pixel_baseline_is_left_out_for_large_banks(tmp_path):
    runner = build_runner(tmp_path, max_epochs=1, model=ToyAlgorithm(False),
                          k=5, hooks=[dict(REPORT, max_pixel_images=39)])
    runner.train()
    report = read_report(tmp_path)
    assert 'pixels' not in report
    assert (report['network'], report['k'], report['chance']) == (
        'student', 5, 25.0)


@pytest.mark.unit
def test_table():
    report = dict(
        network='teacher', k=20, temperature=0.07, iterations=300,
        bank_images=2000, query_images=1000, chance=11.5,
        end={'knn/top1_k20': 65.94}, step0={'knn/top1_k20': 56.2},
        pixels={'knn/top1_k20': 79.5})
    lines = format_report(report).splitlines()
    assert lines[0] == ('k-NN top-1 in %, k 20, temperature 0.07; 2000 '
                        'labelled images vote on 1000')
    numbers = [re.findall(r'-?\+?\d+\.\d', line) for line in lines[1:]]
    assert numbers == [['65.9'], ['56.2', '+9.7'], ['79.5', '-13.6'],
                       ['11.5', '+54.4']]
    assert len({line.index(number[0])
                for line, number in zip(lines[1:], numbers)}) == 1
    lines = format_report(
        {**report, 'step0_plain': {'knn/top1_k20': 60.0}}).splitlines()
    assert 'not recalibrated' in lines[3]
    assert re.findall(r'-?\+?\d+\.\d', lines[3]) == ['60.0', '+5.9']


@pytest.mark.unit
def test_pixels_are_averaged_down():
    images = torch.arange(64.0 * 48).view(1, 1, 64, 48)
    assert pixels(images).shape == (1, 32 * 32)
    small = torch.rand(2, 3, 28, 32)
    assert pixels(small).equal(small.flatten(1))


@pytest.mark.e2e
def test_known_number_of_raw_pixels():
    """79.5 % with the embedded images: measured once, apart from us."""
    from mimplug.datasets import EmbeddedFashionMNIST
    from mimplug.evaluation import knn_accuracy
    features, labels = [], []
    for split in ('train', 'test'):
        data = EmbeddedFashionMNIST(split)
        infos = [data.get_data_info(i) for i in range(len(data))]
        images = torch.stack([torch.from_numpy(i['img']) for i in infos])
        # as the network gets them: padded to 32, mean and std of the data
        images = torch.nn.functional.pad(images.float() / 255, (2, 2, 2, 2))
        features.append(pixels(((images - 0.286) / 0.353)[:, None]).half())
        labels.append(torch.tensor([int(i['gt_label']) for i in infos]))
    found = knn_accuracy(features[1], labels[1], features[0], labels[0], k=20)
    assert found['top1_k20'] == pytest.approx(79.5, abs=0.05)
