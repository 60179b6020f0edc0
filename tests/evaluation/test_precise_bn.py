"""Batch norm statistics of given images."""
from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import DataLoader, SequentialSampler
from toy_knn import ToyImages, loader_config

from mimplug.datasets import MultiViewDataPreprocessor
from mimplug.errors import ConfigError
from mimplug.evaluation import KNNProtocol, recalibrate_bn, recalibrated
from mimplug.evaluation.precise_bn import spread_loader
from mimplug.evaluation.report import KNNReportHook
from mimplug.models.split_norm import split_batch_norms

pytestmark = pytest.mark.unit


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(),
                         nn.Dropout(0.5), nn.Conv2d(4, 5, 3),
                         nn.BatchNorm2d(5, momentum=None))


def batches(sizes=(4, 4, 2)):
    generator = torch.Generator().manual_seed(1)
    return [2 * torch.randn(size, 3, 8, 8, generator=generator) + 3 * place
            for place, size in enumerate(sizes)]


def test_the_first_layer_gets_the_moments_of_all_images():
    net = network().train()
    net[3].eval()
    before = copy.deepcopy(net)
    assert recalibrate_bn(net, batches()) == 2
    seen = net[0](torch.cat(batches())).double()
    torch.testing.assert_close(
        net[1].running_mean.double(), seen.mean((0, 2, 3)),
        rtol=1e-5, atol=1e-5)
    # unbiased in each batch, so a percent off at 4 * 36 places
    torch.testing.assert_close(
        net[1].running_var.double(), seen.var((0, 2, 3)), rtol=0.01, atol=0)
    assert [part.training for part in net.modules()] == [
        part.training for part in before.modules()]
    assert (net[1].momentum, net[5].momentum) == (0.1, None)
    assert all(torch.equal(a, b) for a, b in zip(
        net.parameters(), before.parameters()))


def test_statistics_of_a_bad_batch_are_forgotten():
    plain, broken = network(), network()
    broken[1].running_mean[0] = float('nan')
    broken[5].running_var[0] = float('inf')
    for net in (plain, broken):
        recalibrate_bn(net, batches())
    for number in (1, 5):
        for name in ('running_mean', 'running_var'):
            assert torch.equal(getattr(plain[number], name),
                               getattr(broken[number], name))


def test_norms_over_parts_see_whole_batches():
    plain, split = network(), network()
    split_batch_norms(split, 4)
    for net in (plain, split):
        recalibrate_bn(net, batches())  # the last one has no four parts
    assert split[1].num_splits == 4
    assert all(torch.equal(a, b) for a, b in zip(
        plain.buffers(), split.buffers()))


def test_old_values_return_also_after_an_error():
    net = network()
    before = copy.deepcopy(net.state_dict())
    with recalibrated(net, batches()):
        assert not torch.equal(net[1].running_mean, before['1.running_mean'])
    with pytest.raises(RuntimeError), recalibrated(
            net, [*batches(), torch.zeros(1, 1, 8, 8)]):
        pass
    assert all(torch.equal(value, before[name])
               for name, value in net.state_dict().items())


def test_nothing_to_do_is_said():
    with pytest.raises(ConfigError, match='no batches'):
        recalibrate_bn(network(), [])
    assert recalibrate_bn(nn.Linear(1, 1), batches()) == 0
    with pytest.raises(ConfigError, match='has no batch norms'), recalibrated(
            nn.Linear(1, 1), batches()):
        pass


@pytest.mark.parametrize('size, number, wanted', [
    (24, 2, [[0, 6, 12, 18], [3, 9, 15, 21]]), (9, 5, [[0, 2, 4, 6],
                                                       [1, 3, 5, 7]]),
    (3, 1, [[0, 1, 2]])])
def test_images_come_from_all_of_the_data_set(size, number, wanted):
    loader = DataLoader(ToyImages(size), 4, collate_fn=lambda batch: [
        one['data_samples'].sample_idx for one in batch])
    got = list(spread_loader(loader, number))
    assert got == wanted


class Filtered(BaseModel):
    """A convolutional net whose images are shifted by a filter."""

    def __init__(self):
        super().__init__(MultiViewDataPreprocessor())
        self.backbone = network()
        self.input_filter = lambda images: images + 5

    def forward(self, inputs, data_samples=None, mode='tensor'):
        raise NotImplementedError


def test_knn_with_filter_and_precise_statistics():
    model = Filtered()
    bank, queries = (
        DataLoader(ToyImages(24, seed=seed), 4, sampler=SequentialSampler(
            range(24)), collate_fn=collate) for seed in (0, 1))
    state = copy.deepcopy(model.state_dict())
    plain, exact = (KNNProtocol(bank, queries, k=(3, ), precise_bn=number)
                    for number in (0, 6))
    moved = plain.extract(model)[0].features
    still = exact.extract(model)[0].features
    assert all(torch.equal(value, state[name])
               for name, value in model.state_dict().items())
    # statistics are those of the filtered images, but for what the first
    # norm does to a batch and to all images
    assert still.mean(0).abs().max() < 0.2 * moved.mean(0).abs().max()
    model.input_filter = None
    assert not torch.equal(plain.extract(model)[0].features, moved)
    metrics = exact.metrics(model)
    assert set(metrics) == {'knn/top1_k3', 'knn/top5_k3'}
    with pytest.raises(ConfigError, match='precise_bn=-1'):
        KNNProtocol(bank, queries, precise_bn=-1)


def test_the_report_shows_step_0_with_and_without():
    model = Filtered()
    bank, queries = (
        DataLoader(ToyImages(24, seed=seed), 4, sampler=SequentialSampler(
            range(24)), collate_fn=collate) for seed in (0, 1))
    plain, exact = (KNNProtocol(bank, queries, k=(3, ), precise_bn=number)
                    for number in (0, 6))
    runner = SimpleNamespace(model=model, visualizer=SimpleNamespace(
        add_scalars=lambda *args, **kwargs: None))
    for protocol, names in ((plain, {'step0'}),
                            (exact, {'step0', 'step0_plain'})):
        hook = KNNReportHook()
        hook._measure_baselines(runner, SimpleNamespace(protocol=protocol))
        assert {name for name in hook.report if 'step0' in name} == names
        assert hook.report['step0'] == protocol.metrics(model)
    assert hook.report['step0_plain'] == plain.metrics(model)


def collate(batch):
    return dict(inputs=[one['inputs'] for one in batch],
                data_samples=[one['data_samples'] for one in batch])


@pytest.mark.e2e
def test_the_loop_takes_it():
    from mmengine.runner import Runner

    from mimplug.evaluation import KNNValLoop
    runner = Runner.__new__(Runner)
    runner._randomness_cfg, runner._seed = {}, 0
    runner._experiment_name = 'precise'
    loop = KNNValLoop(
        runner, loader_config(ToyImages(8, seed=1)), [],
        bank=loader_config(ToyImages(12)), k=3, precise_bn=2)
    assert loop.protocol.precise_bn == 2
