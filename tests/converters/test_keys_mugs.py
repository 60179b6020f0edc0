"""Mugs' names against the goldens and against our algorithm."""
from __future__ import annotations

import pytest
import timm
import torch
from mmpretrain.registry import MODELS
from test_keys_ibot import same, shuffled

from mimplug.converters import MUGS, compare, load_strict
from mimplug.errors import CheckpointError
from mimplug.models.backbones import LocalGroupViT


def small_backbone(golden, **kwargs):
    """The backbone of a golden's size."""
    return dict(
        arch=dict(embed_dims=golden.scalar('hyper/D'),
                  num_layers=golden.scalar('hyper/depth'),
                  num_heads=golden.scalar('hyper/heads'),
                  feedforward_channels=4 * golden.scalar('hyper/D')),
        img_size=golden.scalar('hyper/img'),
        patch_size=golden.scalar('hyper/patch'), **kwargs)


def build_mugs(golden):
    """Our algorithm with the sizes of ``train_init``."""
    embed = dict(hidden_channels=golden.scalar('hyper/head_hidden'),
                 out_channels=golden.scalar('hyper/head_out'),
                 predictor_channels=golden.scalar('hyper/head_pred_hidden'))
    return MODELS.build(dict(
        type='mimplug.Mugs',
        backbone=small_backbone(golden, type='mimplug.LocalGroupViT'),
        instance=dict(
            head=embed, queue=golden.scalar('hyper/instance_queue_size')),
        local_group=dict(
            head=embed, queue=golden.scalar('hyper/local_group_queue_size'),
            memory=golden.scalar('hyper/mem_K'),
            neighbours=golden.scalar('hyper/top_n')),
        group=dict(head=dict(
            num_prototypes=golden.scalar('hyper/head_group_out'),
            hidden_channels=golden.scalar('hyper/head_hidden'),
            bottleneck_channels=golden.scalar('hyper/head_bottleneck'),
            norm_last_layer=False))))


def training_checkpoint(golden):
    """A checkpoint as the release writes it, some rows never written."""
    def queue(name):
        return dict(queue=golden.tensor(f'{name}_queue_init'),
                    queue_ptr=torch.tensor([3]))

    def memory(name):
        rows = golden.tensor(f'{name}_init/queue')
        written = torch.arange(len(rows)).unsqueeze(1) < 7
        return {
            'block.queue_q': rows, 'block.queue_k': rows.clone(),
            'block.queue_v': torch.where(written, rows, -rows),
            'block.queue_ptr': torch.tensor([14])}

    return {
        'student': {f'module.{name}': value for name, value
                    in golden.tree('student_init/').items()},
        'teacher': golden.tree('teacher_init/'),
        'student_mem': memory('student_mem'),
        'teacher_mem': memory('teacher_mem'),
        'instance-sup.': queue('instance'),
        'local-group-sup.': queue('local_group'),
        'group-sup.': dict(center=golden.tensor('center_init')),
        'epoch': 3}


@pytest.mark.golden('mugs', 'vit_forward', 'local_group_module')
def test_backbone_computes_what_the_release_does(golden):
    theirs = golden.tree('sd/')
    vit = LocalGroupViT(
        **small_backbone(golden), with_mask_token=False,
        num_relation_blocks=golden.scalar('hyper/num_relation_blocks'))
    load_strict(vit, MUGS.read(theirs))
    same(MUGS.write(vit.state_dict()), theirs)
    if 'global/cls_feature' in golden:
        vit.eval()
        got = vit(golden.tensor('global/x'))[-1]
        assert (got - golden.tensor('global/cls_feature')).abs().max() < 2e-5


@pytest.mark.golden('mugs', 'train_init')
def test_training_checkpoint_fits_our_algorithm(golden):
    content = training_checkpoint(golden)
    assert MUGS.is_training(content)
    assert not MUGS.is_training(content['student'])
    ours = MUGS.read_training(content)
    model = build_mugs(golden)
    assert compare(model, ours).share == 1
    load_strict(model, ours)
    assert set(ours) == set(model.state_dict())
    assert int(model.memories.teacher.num_written) == 7
    assert model.memories.teacher.pointer.tolist() == [14]
    assert (model.memories.labels.rows == -1).all()
    queue = model.memories.negatives('instance')
    assert torch.equal(queue.T, golden.tensor('instance_queue_init'))


@pytest.mark.golden('mugs', 'train_init')
def test_a_network_starts_from_a_full_checkpoint(golden, tmp_path):
    torch.save(training_checkpoint(golden), tmp_path / 'full.pth')
    network = LocalGroupViT(
        **small_backbone(golden), init_cfg=dict(
            type='mimplug.Pretrained', checkpoint=str(tmp_path / 'full.pth'),
            key='teacher', converter='mugs', prefix='backbone.',
            # the file has none
            allow_missing=['mask_token']))
    network.init_weights()
    theirs = golden.tree('teacher_init/backbone.')
    state = network.state_dict()
    assert not state.pop('mask_token').any()
    same(MUGS.write(state), theirs)


@pytest.mark.golden('mugs', 'train_init')
def test_training_checkpoint_round_trip(golden):
    content = training_checkpoint(golden)
    ours = MUGS.read_training(content)
    back = MUGS.write_training(ours)
    assert set(back) == set(content) - {'epoch'}
    for part, tensors in back.items():
        same(tensors, content[part])
    same(MUGS.read_training(back), ours)


@pytest.mark.property
def test_released_backbones_are_timms():
    """Backbone-only files: 'teacher' without heads and relation block."""
    theirs = timm.models.VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2,
        num_classes=0)
    state = {f'backbone.{name}': value
             for name, value in shuffled(theirs).state_dict().items()}
    ours = LocalGroupViT(
        arch=dict(embed_dims=32, num_layers=2, num_heads=2,
                  feedforward_channels=128),
        img_size=32, patch_size=8, with_mask_token=False,
        num_relation_blocks=0)
    load_strict(torch.nn.ModuleDict(dict(backbone=ours)), MUGS.read(state))
    images = torch.randn(2, 3, 32, 32)
    theirs.eval()
    ours.eval()
    expected = theirs.forward_features(images)[:, 0]
    assert (ours(images)[-1] - expected).abs().max() <= (
        2e-6 * expected.abs().max())
    same(MUGS.write(MUGS.read(state)), state)


@pytest.mark.unit
def test_both_spellings_of_weight_norm_are_read():
    g, v = torch.rand(5, 1), torch.rand(5, 3)
    layer = 'group_head.last_layer.'
    old = {f'{layer}weight_g': g, f'{layer}weight_v': v}
    stem = f'{layer}parametrizations.weight.original'
    new = {f'{stem}0': g, f'{stem}1': v}
    same(MUGS.read(old), new)
    same(MUGS.read(new), new)


@pytest.mark.golden('mugs', 'train_init')
def test_broken_files(golden):
    content = training_checkpoint(golden)
    del content['group-sup.']['center']
    content['group-sup.']['centre'] = torch.zeros(1, 32)
    with pytest.raises(CheckpointError, match="'center' is missing"):
        MUGS.read_training(content)
    del content['instance-sup.']
    with pytest.raises(CheckpointError, match='instance-sup'):
        MUGS.read_training(content)
    with pytest.raises(CheckpointError, match='head'):
        MUGS.read({'head.weight': torch.ones(1)})
    ours = MUGS.read_training(training_checkpoint(golden))
    shared = {name: value for name, value in ours.items()
              if not name.startswith('memories.student.')}
    with pytest.raises(CheckpointError, match=r'memories\.student'):
        MUGS.write_training(shared)
