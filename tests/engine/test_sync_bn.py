"""Batch norms over all processes, in student and teacher."""
from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from mmengine.model import convert_sync_batchnorm
from torch import nn
from toy_run import on_launched

from mimplug.cli._launch import check_sync_bn
from mimplug.errors import ConfigError
from mimplug.models.teacher import Teacher


class Pair(nn.Module):
    """A student with a batch norm, and its teacher."""

    def __init__(self):
        super().__init__()
        self.backbone = self.network()
        self.teacher = Teacher(backbone=self.network())
        self.teacher.copy_from(self)

    @staticmethod
    def network():
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


@pytest.mark.unit
def test_conversion_reaches_the_teacher_and_keeps_its_parameters():
    model = Pair()
    before = dict(model.named_parameters())
    model = convert_sync_batchnorm(model, 'torch')
    kinds = [type(module) for module in model.modules()
             if 'BatchNorm' in type(module).__name__]
    assert kinds == [nn.SyncBatchNorm] * 2
    after = dict(model.named_parameters())
    assert list(after) == list(before)
    assert all(after[name] is value for name, value in before.items())
    with torch.no_grad():
        model.backbone[1].weight.add_(1)
    model.teacher.update(model, 0.75)
    assert torch.allclose(model.teacher.backbone[1].weight,
                          torch.full((4, ), 1.25))
    assert not model.teacher.backbone[1].weight.requires_grad


@pytest.mark.unit
@pytest.mark.parametrize('cfg', [
    dict(sync_bn='torch'), dict(strategy=dict(sync_bn='torch'))])
def test_processors_are_refused_before_the_first_step(cfg):
    check_sync_bn(Config(cfg), 'cuda')
    with pytest.raises(ConfigError, match=r"sync_bn='torch'.*GPUs only"):
        check_sync_bn(Config(cfg), 'cpu')


@pytest.mark.unit
def test_norms_of_parts_are_not_replaced_silently():
    cfg = Config(dict(sync_bn='torch', model=dict(split_bn=2)))
    with pytest.raises(ConfigError, match=r"sync_bn='torch'.*split_bn=2"):
        check_sync_bn(cfg, 'cuda')
    check_sync_bn(Config(dict(cfg, sync_bn=None)), 'cuda')


@pytest.mark.unit
def test_unknown_kind():
    with pytest.raises(ConfigError, match=r"sync_bn.*'torhc'.*torch"):
        check_sync_bn(Config(dict(sync_bn='torhc')), 'cuda')
    check_sync_bn(Config(dict(sync_bn=None)), 'cpu')


def forward_on_the_gpu(folder):
    """Output of a converted student in a group of one."""
    torch.distributed.init_process_group('nccl')
    torch.manual_seed(0)
    model = convert_sync_batchnorm(Pair(), 'torch').cuda().train()
    out = model.backbone(torch.arange(6.).view(2, 3).cuda())
    out.square().sum().backward()
    return out.detach().cpu()


@pytest.mark.gpu
@pytest.mark.dist
@pytest.mark.skipif(not torch.cuda.is_available(), reason='no CUDA')
def test_on_a_gpu(tmp_path):
    out, = on_launched(forward_on_the_gpu, tmp_path, tmp_path, world=1)
    torch.manual_seed(0)
    expected = Pair().train().backbone(torch.arange(6.).view(2, 3))
    assert torch.allclose(out, expected, atol=1e-5)
