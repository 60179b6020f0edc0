"""``mimplug.Pretrained`` through MMEngine's own initialisation."""
from __future__ import annotations

import argparse
import subprocess
import sys

import pytest
import torch
from mmengine.model import BaseModule, ModuleList, Sequential
from mmpretrain.models import VisionTransformer
from torch import nn
from toy_vit import SIZES, save

from mimplug.converters import IBOT, TIMM, Pretrained, read_file
from mimplug.errors import CheckpointError, ConfigError
from mimplug.models.backbones import MaskedViT


def init_cfg(path, **options):
    """The config that a user writes."""
    return dict(type='mimplug.Pretrained', checkpoint=path, **options)


def holds(module, weights):
    """Whether every tensor of the module comes from ``weights``."""
    return all(torch.equal(value, weights[name])
               for name, value in module.state_dict().items())


class Redraw(BaseModule):
    """Draws its weight after the parent class did, like many backbones."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.w = nn.Parameter(torch.zeros(3))

    def init_weights(self):
        super().init_weights()
        if not (self.init_cfg and self.init_cfg['type'] == 'Pretrained'):
            nn.init.normal_(self.w)


class Careless(nn.Module):
    """Not a BaseModule, draws whenever it is asked."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(2))

    def init_weights(self):
        nn.init.normal_(self.w)


class Net(BaseModule):
    """Parts that draw their own weights, some deeper down."""

    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.backbone = Sequential(nn.Linear(2, 2), Redraw())
        self.layers = ModuleList([Redraw(), Redraw()])
        self.careless = Careless()
        self.head = Redraw()


@pytest.mark.unit
def test_loaded_weights_survive_init_weights_of_parts(tmp_path):
    source = Net()
    source.init_weights()
    state = source.state_dict()
    path = save(tmp_path / 'a.pth', dict(state_dict=state, meta={}))
    net = Net(init_cfg(path))
    net.init_weights()
    assert holds(net, state)
    assert net.is_init
    net.init_weights()  # MMEngine warns and does nothing
    assert holds(net, state)


@pytest.mark.unit
def test_parts_that_the_file_lacks_draw_their_own(tmp_path):
    state = {name: value + 1 for name, value in Net().state_dict().items()
             if not name.startswith('head.')}
    path = save(tmp_path / 'a.pth', state)
    net = Net(init_cfg(path, allow_missing=['head.*']))
    net.init_weights()
    assert all(torch.equal(net.state_dict()[name], value)
               for name, value in state.items())
    assert net.head.w.any()
    assert not net.head.w.isnan().any()


@pytest.mark.unit
@pytest.mark.parametrize('kind', [VisionTransformer, MaskedViT])
def test_vits_do_not_redraw_what_was_loaded(tmp_path, weights, kind):
    path = save(tmp_path / 'a.pth', dict(
        teacher={f'backbone.{n}': v for n, v in weights.items()}))
    options = dict(with_mask_token=False) if kind is MaskedViT else {}
    vit = kind(**SIZES, **options, init_cfg=init_cfg(
        path, key='teacher', prefix='backbone.'))
    vit.init_weights()
    assert holds(vit, weights)


@pytest.mark.unit
def test_init_cfg_of_a_sub_module_in_a_model(tmp_path, weights):
    path = save(tmp_path / 'a.pth', weights)

    class Model(BaseModule):
        def __init__(self):
            super().__init__()
            self.backbone = VisionTransformer(
                **SIZES, init_cfg=init_cfg(path))
            self.head = Redraw()

    model = Model()
    model.init_weights()
    assert holds(model.backbone, weights)
    assert model.head.w.any()


@pytest.mark.unit
def test_override_names_the_sub_module(tmp_path):
    state = {'w': torch.tensor([1., 2., 3.])}
    path = save(tmp_path / 'a.pth', state)
    net = Net(dict(
        type='Normal', layer='Linear', std=0.1,
        override=dict(name='head', **init_cfg(path))))
    net.init_weights()
    assert holds(net.head, state)
    assert net.layers[0].w.any()


@pytest.mark.unit
def test_a_list_ends_with_it(tmp_path):
    state = {name: value + 1 for name, value in Net().state_dict().items()}
    path = save(tmp_path / 'a.pth', state)
    constant = dict(type='Constant', layer='Linear', val=9.0)
    net = Net([constant, init_cfg(path)])
    net.init_weights()
    assert holds(net, state)
    with pytest.raises(ConfigError, match='must come last'):
        Net([init_cfg(path), constant]).init_weights()


@pytest.mark.unit
def test_parts_inside_a_parallel_wrapper(tmp_path):
    class Wrapped(BaseModule):
        def __init__(self, init_cfg=None):
            super().__init__(init_cfg)
            self.part = nn.DataParallel(Redraw())

    state = {'part.module.w': torch.tensor([1., 2., 3.])}
    net = Wrapped(init_cfg(save(tmp_path / 'a.pth', state)))
    net.init_weights()
    assert holds(net, state)


@pytest.mark.unit
def test_callable_without_init_weights(tmp_path, weights):
    path = save(tmp_path / 'a.pth', weights)
    vit = VisionTransformer(**SIZES)
    report = Pretrained(path)(vit)
    assert report.share == 1
    assert holds(vit, weights)
    assert not vit.is_init


@pytest.mark.unit
def test_foreign_names(tmp_path, weights):
    timm_file = save(tmp_path / 'timm.pth', {
        **TIMM.write(weights), 'head.weight': torch.ones(2, 16)})
    vit = MaskedViT(**SIZES, init_cfg=init_cfg(
        timm_file, converter='timm', allow_missing=['mask_token'],
        allow_unexpected=['head.*']))
    vit.init_weights()
    assert holds(vit, {**weights, 'mask_token': torch.zeros(1, 16)})
    student = {f'module.backbone.{n}': v
               for n, v in IBOT.write(weights).items()}
    ibot_file = save(tmp_path / 'ibot.pth', dict(
        student=student, teacher={n[7:]: v for n, v in student.items()},
        ibot_loss=dict(center=torch.ones(1, 3)),
        args=argparse.Namespace(arch='vit_small')))
    for key in (None, 'teacher', 'student'):
        vit = VisionTransformer(**SIZES)
        Pretrained(ibot_file, key, 'backbone.', 'ibot')(vit)
        assert holds(vit, weights)
    tensors = Pretrained(ibot_file, converter='ibot').read()
    assert tensors['loss_module.cls_center'].shape == (3,)
    assert 'args' in read_file(ibot_file)


@pytest.mark.unit
def test_position_embeddings_are_resized_on_request_only(tmp_path, weights):
    path = save(tmp_path / 'a.pth', weights)
    big = dict(SIZES, img_size=24)
    with pytest.raises(CheckpointError, match='hint: resize_pos_embed=True'):
        Pretrained(path)(VisionTransformer(**big))
    vit = VisionTransformer(**big)
    Pretrained(path, resize_pos_embed=True)(vit)
    assert vit.pos_embed.shape == (1, 37, 16)
    assert torch.equal(vit.pos_embed[:, 0], weights['pos_embed'][:, 0])
    weights['pos_embed'] = weights['pos_embed'][..., :8]
    path = save(tmp_path / 'b.pth', weights)
    with pytest.raises(CheckpointError, match='pos_embed'):
        Pretrained(path, resize_pos_embed=True)(vit)


FRESH = '''
import torch
from mmengine.model import BaseModule
from mmengine.registry import DefaultScope

class Net(BaseModule):
    def __init__(self, init_cfg):
        super().__init__(init_cfg)
        self.w = torch.nn.Parameter(torch.zeros(2))

DefaultScope.get_instance('run', scope_name='mmpretrain')
net = Net(dict(type='mimplug.Pretrained', checkpoint={path!r}))
net.init_weights()
assert net.w.tolist() == [1, 1]
'''


@pytest.mark.unit
def test_found_in_a_fresh_process(tmp_path):
    path = save(tmp_path / 'a.pth', {'w': torch.ones(2)})
    subprocess.run([sys.executable, '-c', FRESH.format(path=path)],
                   check=True, capture_output=True, text=True)
