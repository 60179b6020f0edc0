"""Copies ahead of the step."""
from __future__ import annotations

from collections import namedtuple
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from mimplug.datasets import view_collate
from mimplug.datasets.device.plan import CropPlan, RawImage
from mimplug.datasets.transforms.multi_crop import CropSpec
from mimplug.engine.loops import prefetch, prefetch_to

Pair = namedtuple('Pair', 'left right')


def batches(count, log=None):
    for number in range(count):
        if log is not None:
            log.append(('read', number))
        yield dict(inputs=[torch.full((2,), number), (torch.ones(1), )],
                   pair=Pair(torch.tensor(number), 'text'),
                   data_samples=[object()])


@pytest.mark.unit
def test_cpu_batches_pass_through():
    source = batches(3)
    assert prefetch_to(source, torch.device('cpu')) is source


class FakeStream:
    """A CUDA stream that only notes what waits for what."""

    def __init__(self, log):
        self.log = log

    def wait_stream(self, other):
        self.log.append('wait')


@pytest.mark.unit
@pytest.mark.parametrize('count', [0, 1, 2, 5])
def test_one_batch_ahead_in_order(monkeypatch, count):
    log = []
    for name in ('Stream', 'current_stream'):
        monkeypatch.setattr(torch.cuda, name,
                            lambda device: FakeStream(log))
    monkeypatch.setattr(torch.cuda, 'stream', lambda stream: nullcontext())
    ahead = prefetch._Ahead(batches(count, log), torch.device('cpu'))
    for number, batch in enumerate(ahead):
        reads = [entry for entry in log if entry != 'wait']
        assert len(reads) == min(count, number + 2)
        assert log.count('wait') == number + 1
        assert batch['inputs'][0].tolist() == [number, number]
        assert batch['pair'] == Pair(number, 'text')
        assert isinstance(batch['inputs'][1], tuple)
    assert log.count('wait') == count
    assert next(ahead, None) is None


@pytest.mark.unit
def test_what_is_to_be_drawn_stays_on_the_host():
    plan = CropPlan([CropSpec(num=2, size=8), CropSpec(num=3, size=4)])
    samples = [dict(inputs=RawImage(np.zeros((9, 7, 3), np.uint8), key, plan),
                    data_samples=DataSample()) for key in (1, 2)]
    batch, moved = view_collate(samples), []
    copied = prefetch._map(batch, lambda tensor: moved.append(tensor) or 'gpu')
    assert copied['inputs']['pixels'] == 'gpu'
    assert moved == [batch['inputs']['pixels']]
    for group, same in zip(copied['inputs']['groups'],
                           batch['inputs']['groups']):
        assert group is same
        assert isinstance(group.rows, np.ndarray)
    assert copied['data_samples'][0] is batch['data_samples'][0]
    # boxes and flips, too
    assert isinstance(batch['data_samples'][0].view_boxes, np.ndarray)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA')
def test_copies_run_beside_the_computation():
    device = torch.device('cuda')
    big = [torch.full((1 << 22,), float(i)).pin_memory() for i in range(20)]
    total = torch.zeros((), device=device)
    work = torch.randn(1024, 1024, device=device)
    for number, batch in enumerate(prefetch_to(
            iter(dict(inputs=one) for one in big), device)):
        assert batch['inputs'].device.type == 'cuda'
        for _ in range(20):
            work = torch.tanh(work @ work)
        # memory that is reused too early would show another batch's values
        total += (batch['inputs'] - number).abs().sum()
        del batch
    assert float(total) == 0
    assert number == 19
