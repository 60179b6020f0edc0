"""Teacher and weights of iBOT, and what it refuses."""
from __future__ import annotations

import copy

import pytest
import torch
from toy_ibot import gradients, make_views, tiny_ibot

from mimplug.errors import ConfigError
from mimplug.masking import MaskGenerator, Needs


def equal_teacher(model):
    """Whether every tensor of the teacher is the student's."""
    state = model.state_dict()
    return all(torch.equal(value, state[name.removeprefix('teacher.')])
               for name, value in state.items()
               if name.startswith('teacher.'))


def changed(model):
    """The same model with other weights, student and teacher apart."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter))
    return model


class TestTeacher:

    @pytest.mark.unit
    def test_is_the_student_without_mask_token_and_noise(self):
        model = tiny_ibot(backbone=dict(drop_path_rate=0.3, drop_rate=0.2))
        teacher = model.teacher.backbone
        assert teacher.mask_token is None
        assert teacher.drop_path_rates[-1] == 0
        assert teacher.drop_after_pos.p == 0
        assert model.backbone.drop_path_rates[-1] == 0.3
        assert equal_teacher(model)

    @pytest.mark.unit
    def test_drops_nothing_in_any_layer(self):
        noise = dict(drop_rate=0.2, attn_drop_rate=0.3)
        model = tiny_ibot(backbone=dict(layer_cfgs=noise)).train()
        images = torch.cat(make_views(num_locals=0))
        torch.testing.assert_close(*(
            model.teacher.backbone.encode(images).tokens for _ in range(2)),
            rtol=0, atol=0)
        layer = model.backbone.layers[0]
        assert (layer.attn.attn_drop, layer.attn.proj_drop.p) == (0.3, 0.2)

    @pytest.mark.unit
    @pytest.mark.parametrize('shared', [True, False])
    def test_mirrors_the_head(self, shared):
        model = tiny_ibot(head=dict(shared=shared, **(
            {} if shared else {'patch_prototypes': 9})))
        assert (model.teacher.head.state_dict().keys()
                == model.head.state_dict().keys())
        assert model.loss_module.patch_center.shape == (
            (12,) if shared else (9,))
        gradients(model, make_views())

    @pytest.mark.unit
    def test_step_end_moves_teacher_and_centers(self):
        model = tiny_ibot()
        with torch.no_grad():
            model.head.mlp[0].weight.add_(1)
        before = model.teacher.head.mlp[0].weight.clone()
        model.loss(make_views())
        assert torch.equal(before, model.teacher.head.mlp[0].weight)
        assert not model.loss_module.cls_center.any()
        model.step_end(0.75)
        torch.testing.assert_close(
            model.teacher.head.mlp[0].weight, before + 0.25)
        assert model.loss_module.cls_center.any()
        assert model.loss_module.patch_center.any()

    @pytest.mark.unit
    def test_legacy_head_starts_as_the_patch_layer(self):
        model = tiny_ibot(head=dict(shared=False),
                          legacy_shared_teacher_head=True)
        start = model.head.last_layer2.weight
        assert torch.equal(model.teacher.head.last_layer.weight, start)
        assert model.teacher.head.last_layer2 is None
        gradients(model, make_views())
        model.teacher.update(model, 0.0)  # … and follows the CLS layer
        torch.testing.assert_close(model.teacher.head.last_layer.weight,
                                   model.head.last_layer.weight)


class TestWeights:

    @pytest.mark.unit
    def test_file_with_a_teacher_keeps_it(self):
        source = changed(tiny_ibot())
        model = tiny_ibot(seed=1)
        model.load_state_dict(source.state_dict())
        for name, value in source.state_dict().items():
            assert torch.equal(value, model.state_dict()[name]), name
        assert not equal_teacher(model)

    @pytest.mark.unit
    def test_file_without_a_teacher_fills_it(self):
        source = changed(tiny_ibot()).state_dict()
        model = tiny_ibot(seed=1)
        model.load_state_dict(
            {name: value for name, value in source.items()
             if not name.startswith('teacher.')}, strict=False)
        assert torch.equal(model.backbone.pos_embed,
                           source['backbone.pos_embed'])
        assert equal_teacher(model)

    @pytest.mark.unit
    def test_pretrained_backbone_reaches_the_teacher(self, tmp_path):
        source = changed(tiny_ibot()).backbone.state_dict()
        torch.save(source, tmp_path / 'vit.pth')
        model = tiny_ibot(backbone=dict(init_cfg=dict(
            type='mimplug.Pretrained', checkpoint=str(tmp_path / 'vit.pth'))))
        for name, value in source.items():
            assert torch.equal(model.backbone.state_dict()[name], value)
        assert equal_teacher(model)

    @pytest.mark.unit
    @pytest.mark.parametrize('with_teacher', [True, False])
    def test_pretrained_algorithm(self, tmp_path, with_teacher):
        source = changed(tiny_ibot()).state_dict()
        if not with_teacher:
            source = {name: value for name, value in source.items()
                      if not name.startswith('teacher.')}
        torch.save(source, tmp_path / 'all.pth')
        model = tiny_ibot(seed=1, init_cfg=dict(
            type='mimplug.Pretrained', checkpoint=str(tmp_path / 'all.pth'),
            allow_missing=[] if with_teacher else ['teacher.*']))
        for name, value in source.items():
            assert torch.equal(model.state_dict()[name], value), name
        assert equal_teacher(model) != with_teacher


class Wrong(MaskGenerator):
    """A generator that declares what it is told."""

    def __init__(self, **declared):
        vars(self).update(declared)

    def __call__(self, context):
        raise AssertionError('refused when the model is built')


class TestErrors:

    @pytest.mark.unit
    @pytest.mark.parametrize('kwargs, message', [
        (dict(backbone=dict(with_mask_token=False)), 'with_mask_token=True'),
        (dict(head=dict(norm='bn')), r"head\.norm='bn': a batch norm"),
        (dict(num_globals=0), 'num_globals=0: must be >= 1'),
        (dict(legacy_shared_teacher_head=True), 'got shared=True'),
        (dict(head=dict(shared=False, patch_prototypes=7),
              legacy_shared_teacher_head=True), '12 and 7 prototypes'),
        (dict(mask_generator=dict(type='mimplug.AttentionMask', layer=5)),
         'layer=5: a network of 2 layers'),
        (dict(mask_generator=dict(type='mimplug.AtentionMask')),
         "did you mean 'AttentionMask'"),
        (dict(mask_generator=dict(type='mimplug.AttentionMask', ratio=1.5)),
         r'ratio=1\.5'),
        (dict(mask_generator=Wrong(needs=Needs(saliency=True))),
         'Wrong needs saliency maps'),
        (dict(mask_generator=Wrong(channels=3)), 'channels=3; allowed'),
        (dict(loss=dict(student_temperature=0)), 'student_temperature=0'),
        (dict(teacher_temperature=dict(start=0, final=0.1)), 'must be > 0'),
    ])
    def test_at_construction(self, kwargs, message):
        with pytest.raises(ConfigError, match=message):
            tiny_ibot(**kwargs)

    @pytest.mark.unit
    def test_unknown_position(self):
        model = tiny_ibot()
        model._progress = None
        with pytest.raises(RuntimeError, match=r'mimplug\.TeacherHook'):
            model.loss(make_views())

    @pytest.mark.unit
    def test_too_few_views(self):
        with pytest.raises(ValueError, match='1 views for num_globals=2'):
            tiny_ibot().loss(make_views(num_globals=1, num_locals=0))


@pytest.mark.unit
def test_state_is_student_teacher_and_centers():
    parts = {name.split('.')[0] for name in tiny_ibot().state_dict()}
    assert parts == {'backbone', 'head', 'teacher', 'loss_module'}
