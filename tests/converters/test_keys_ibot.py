"""iBOT, AttMask, DINO and timm names against real modules and goldens."""
from __future__ import annotations

import pytest
import timm
import torch
from mmpretrain.models import VisionTransformer

from mimplug.converters import IBOT, TIMM, compare, load_strict
from mimplug.errors import CheckpointError
from mimplug.models.backbones import MaskedViT
from mimplug.models.heads import PrototypeHead

TRAININGS = ('train_step_attmask_hint', 'train_step_attmask_high_globalonly',
             'train_step_ibot_separate_head')


def small_arch(golden=None, width=32, depth=2, heads=2, ratio=4.0):
    """Arguments of MMPretrain's ViT for a small net."""
    if golden is not None:
        width, depth, heads = (
            golden.scalar(f'hp/{name}')
            for name in ('embed_dim', 'depth', 'num_heads'))
        ratio = golden.scalar('hp/mlp_ratio')
    return dict(arch=dict(embed_dims=width, num_layers=depth, num_heads=heads,
                          feedforward_channels=int(width * ratio)))


def same(left, right):
    """Equal names and bits."""
    assert sorted(left) == sorted(right)
    for name in left:
        assert left[name].dtype == right[name].dtype
        assert torch.equal(left[name], right[name]), name


def shuffled(module):
    """The module with random numbers in every tensor."""
    torch.manual_seed(0)
    for value in module.state_dict().values():
        value.normal_(std=0.3)
    return module


@pytest.mark.golden('attmask_ibot', 'vit_forward')
def test_stock_vit_computes_what_the_reference_does(golden):
    weights = IBOT.read(golden.tree('sd/'))
    vit = VisionTransformer(
        **small_arch(golden), img_size=32, patch_size=8, out_type='raw')
    load_strict(vit, weights, allow_unexpected=['mask_token'])
    vit.eval()  # MMPretrain's returns None
    tokens = vit(golden.tensor('x'))[-1]
    expected = golden.tensor('full/tokens')
    assert (tokens - expected).abs().max() <= 2e-6 * expected.abs().max()
    same(IBOT.write(weights), golden.tree('sd/'))


@pytest.mark.golden('attmask_ibot', 'vit_layerscale_meanpool')
def test_layer_scale_and_mean_pool_names(golden):
    theirs = golden.tree('sd/')
    vit = MaskedViT(
        **small_arch(golden), img_size=32, patch_size=8,
        out_type='avg_featmap', final_norm=False, layer_scale_init_value=0.1,
        with_mask_token=False)
    assert compare(vit, IBOT.read(theirs)).share == 1
    same(IBOT.write(IBOT.read(theirs)), theirs)


@pytest.mark.golden('attmask_ibot', 'heads')
@pytest.mark.parametrize('case, options', [
    ('shared', {}),
    ('separate', dict(shared=False, patch_prototypes=28)),
    ('separate_relu_2layer', dict(
        shared=False, patch_prototypes=28, num_layers=2, act='relu')),
    ('ln', dict(norm='ln')),
    ('bn_before', dict(norm='bn')),
    ('dino', {}),
])
def test_head_names(golden, case, options):
    theirs = {f'head.{name}': value
              for name, value in golden.tree(f'{case}/sd/').items()}
    head = PrototypeHead(16, 20, hidden_channels=24, bottleneck_channels=8,
                         **options)
    holder = torch.nn.ModuleDict(dict(head=head))
    ours = IBOT.read(theirs)
    assert compare(holder, ours).share == 1
    load_strict(holder, ours)
    back = IBOT.write(holder.state_dict())
    if case == 'dino':  # its head has one layer; written as iBOT's shared one
        for name in ('weight_g', 'weight_v'):
            twin = back.pop(f'head.last_layer2.{name}')
            assert torch.equal(twin, back[f'head.last_layer.{name}'])
    same(back, theirs)


@pytest.mark.unit
def test_both_spellings_of_weight_norm_are_read():
    g, v = torch.rand(5, 1), torch.rand(5, 3)
    old = {'head.last_layer.weight_g': g, 'head.last_layer.weight_v': v}
    stem = 'head.last_layer.parametrizations.weight.original'
    new = {f'{stem}0': g, f'{stem}1': v}
    same(IBOT.read(old), new)
    same(IBOT.read(new), new)


@pytest.mark.unit
def test_a_separate_head_is_kept():
    theirs = {f'head.{layer}.{name}': torch.rand(4, 1)
              for layer in ('last_layer', 'last_layer2')
              for name in ('weight_g', 'weight_v')}
    theirs['head.last_layer2.weight_g'] = theirs['head.last_layer.weight_g']
    assert len(IBOT.read(theirs)) == 4
    same(IBOT.write(IBOT.read(theirs)), theirs)


def training_checkpoint(golden):
    """A checkpoint as the reference writes it."""
    student = golden.tree('student_init/')
    return dict(
        student={f'module.{name}': value for name, value in student.items()},
        teacher=golden.tree('teacher_init/'),
        ibot_loss=dict(center=golden.tensor('step0/center'),
                       center2=golden.tensor('step0/center2')),
        epoch=3)


@pytest.mark.golden('attmask_ibot', *TRAININGS)
def test_training_checkpoint_round_trip(golden):
    content = training_checkpoint(golden)
    assert IBOT.is_training(content)
    assert not IBOT.is_training(content['student'])
    ours = IBOT.read_training(content)
    back = IBOT.write_training(ours)
    assert set(back) == {'student', 'teacher', 'ibot_loss'}
    for part, tensors in back.items():
        same(tensors, content[part])
    same(IBOT.read_training(back), ours)


@pytest.mark.golden('attmask_ibot', *TRAININGS)
def test_training_checkpoint_fits_our_parts(golden):
    ours = IBOT.read_training(training_checkpoint(golden))
    sizes = dict(img_size=golden.scalar('hp/img_size'),
                 patch_size=golden.scalar('hp/patch_size'))
    names = set()
    for prefix, role in (('', 'student'), ('teacher.', 'teacher')):
        parts = dict(
            backbone=MaskedViT(**small_arch(golden), **sizes,
                               with_mask_token=role == 'student'),
            head=PrototypeHead(
                golden.scalar('hp/embed_dim'), golden.scalar('hp/out_dim'),
                shared=golden.scalar(f'hp/{role}_shared_head'),
                hidden_channels=golden.scalar('hp/head_hidden'),
                bottleneck_channels=golden.scalar('hp/head_bottleneck')))
        names |= {f'{prefix}{part}.{name}' for part, module in parts.items()
                  for name in module.state_dict()}
    centers = {'loss_module.cls_center', 'loss_module.patch_center'}
    assert set(ours) == names | centers
    assert ours['loss_module.cls_center'].shape == (20,)
    assert ours['loss_module.patch_center'].shape == (20,)


@pytest.mark.property
@pytest.mark.parametrize('init_values', [None, 0.1])
@pytest.mark.parametrize('direction', ['timm to ours', 'ours to timm'])
def test_timm_and_mmpretrain_compute_the_same(direction, init_values):
    theirs = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2,
        num_classes=0, init_values=init_values)
    ours = VisionTransformer(
        **small_arch(), img_size=32, patch_size=8, out_type='raw',
        layer_scale_init_value=init_values or 0.0)
    if direction == 'timm to ours':
        load_strict(ours, TIMM.read(shuffled(theirs).state_dict()))
    else:
        load_strict(theirs, TIMM.write(shuffled(ours).state_dict()))
    same(TIMM.write(ours.state_dict()), theirs.state_dict())
    same(TIMM.read(theirs.state_dict()), ours.state_dict())
    images = torch.randn(2, 3, 32, 32)
    theirs.eval()
    ours.eval()
    expected = theirs.forward_features(images)
    tokens = ours(images)[-1]
    assert (tokens - expected).abs().max() <= 2e-6 * expected.abs().max()


@pytest.mark.unit
def test_names_with_backbone_prefix_and_unknown_names():
    one = torch.ones(1)
    assert list(TIMM.read({'backbone.norm.weight': one})) == [
        'backbone.ln1.weight']
    with pytest.raises(CheckpointError, match=r'relation_blocks\.0'):
        IBOT.read({'relation_blocks.0.norm1.weight': one})
    assert 'fc.weight' in TIMM.read({'fc.weight': one}, keep_unknown=True)
    with pytest.raises(CheckpointError, match='memory'):
        IBOT.write_training({'backbone.cls_token': one, 'memory': one})


@pytest.mark.unit
def test_broken_training_checkpoints():
    one = torch.ones(1, 2)
    content = dict(student={'module.backbone.cls_token': one},
                   teacher={'backbone.cls_token': one},
                   ibot_loss=dict(centre=one))
    with pytest.raises(CheckpointError, match='centre'):
        IBOT.read_training(content)
    del content['teacher']
    with pytest.raises(CheckpointError, match="key='teacher'"):
        IBOT.read_training(content)
