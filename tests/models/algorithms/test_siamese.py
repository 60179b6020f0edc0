"""Siamese algorithms: parts that fit, views that are seen, edges."""
from __future__ import annotations

import pytest
import torch
from toy_siamese import (
    ALGORITHMS,
    HARD,
    MEAN,
    MIXES,
    RANDOM,
    samples,
    tiny_siamese,
    total,
    two_views,
    view_mask,
)

from mimplug.errors import ConfigError

pytestmark = pytest.mark.unit

SALIENCY = dict(type='mimplug.SpectralResidual', size=16)
SALIENT = dict(type='mimplug.SaliencyMask')


def encoded(model, *networks):
    """What goes through backbones, pass by pass."""
    seen = []
    for network in networks or (model.backbone, ):
        network.register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0].clone()))
    return seen


def test_the_query_is_masked_and_the_key_is_not():
    model = tiny_siamese('SaliencyMoCo', view_masks=[view_mask()])
    seen = encoded(model, model.backbone, model.teacher.backbone)
    views = two_views()
    losses = model.loss(views, samples())
    query, key = seen
    changed = (query != views[0]).flatten(1).float().mean(1)
    torch.testing.assert_close(changed.mean(), losses['raw/hidden'])
    assert torch.equal(key, views[1])
    # another place in every image
    places = (query != views[0])[:, 0].flatten(1).int()
    assert len(torch.unique(places, dim=0)) > 1


@pytest.mark.parametrize('branch', ['query', 'key', 'both'])
def test_branches(branch):
    view = 1 if branch == 'key' else 0
    model = tiny_siamese('BYOL', view_masks=[
        view_mask(views=[view], branch=branch)])
    seen = model.look(two_views(), samples())
    for name in ('query', 'key'):
        masked = [not torch.equal(getattr(seen, name)[i], seen.clean[i])
                  for i in (0, 1)]
        expected = [i == view and branch in (name, 'both') for i in (0, 1)]
        assert masked == expected


def test_hard_negatives_are_masks_of_the_key_view_of_their_own():
    model = tiny_siamese('SaliencyMoCo', view_masks=[
        view_mask(views=[0])], hard_negative=dict(HARD, num=2))
    seen = encoded(model, model.teacher.backbone)
    views = two_views()
    model.loss(views, samples())
    key, first, second = seen
    assert torch.equal(key, views[1])
    for images in (first, second):
        share = (images != views[1]).flatten(1).float().mean(1)
        assert torch.allclose(share, torch.tensor(9 / 16), atol=0.01)
    assert not torch.equal(first, second)


def test_saliency_sees_plain_views_and_masks_filtered_ones():
    model = tiny_siamese(
        'SaliencyMoCo', view_masks=[view_mask(SALIENT)], saliency=SALIENCY,
        input_filter=dict(type='mimplug.HighPass', kernel_size=3))
    inner, asked = model.saliency.forward, []
    model.saliency.forward = lambda images, *args, **kwargs: (
        asked.append(images), inner(images, *args, **kwargs))[1]
    views = two_views()
    seen = model.look(views, samples())
    assert len(asked) == 1
    assert torch.equal(asked[0], views[0])
    assert torch.equal(seen.key[1], model.input_filter(views[1]))
    assert model.run_record()['input_filter']['kernel_size'] == 3
    assert model.run_record()['saliency']['type'].endswith('SpectralResidual')
    assert torch.equal(model.extract_feat(views[0])[0],
                       model.backbone(model.input_filter(views[0]))[0])


def test_the_momentum_encoder_can_be_the_localiser():
    model = tiny_siamese(
        'SaliencyMoCo', view_masks=[view_mask(SALIENT)],
        saliency=dict(type='mimplug.SCDA', stage=2))
    before = {name: value.clone() for name, value
              in model.teacher.backbone.state_dict().items()}
    model.look(two_views(), samples())
    for name, value in model.teacher.backbone.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize('name', ALGORITHMS)
def test_a_batch_of_one_is_its_own_partner(name):
    model = tiny_siamese(name, mixes=[
        dict(type='mimplug.UnMix', prob=1.0),
        dict(type='mimplug.MaskMix', grid=4)])
    model.eval()  # batch norms of projectors want more than one image
    views = two_views(1)
    seen = model.look(views, samples(1))
    for mixed in model.mixtures(seen, 0):
        assert mixed.partner.tolist() == [0]
        torch.testing.assert_close(mixed.images, views[0])
    losses = model.loss(views, samples(1))
    assert total(losses).isfinite()


@pytest.mark.parametrize('name', ['MoCo', 'SaliencyMoCo'])
def test_a_batch_of_one_trains(name):
    hard = dict(hard_negative=HARD) if name == 'SaliencyMoCo' else {}
    model = tiny_siamese(name, mixes=MIXES, view_masks=[view_mask()],
                         **hard).train()
    value = total(model.loss(two_views(1), samples(1)))
    value.backward()
    assert value.isfinite()
    assert model.backbone.conv1.weight.grad.isfinite().all()
    assert model.queue.pointer.tolist() == [1]


@pytest.mark.parametrize('name', ALGORITHMS)
def test_odd_sizes_and_bfloat16(name):
    model = tiny_siamese(name, mixes=MIXES, view_masks=[view_mask(cells=4)])
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(two_views(3, 36), samples(3))
    value = total(losses)
    value.backward()
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters()
               if p.grad is not None)


@pytest.mark.parametrize('kwargs', [
    dict(view_masks=[view_mask(cells=7)]), dict(mixes=[
        dict(type='mimplug.MaskMix', grid=5)])], ids=['mask', 'mix'])
def test_an_image_that_the_grid_does_not_divide(kwargs):
    model = tiny_siamese('MoCo', **kwargs)
    with pytest.raises(ConfigError, match='32 x 32'):
        model.loss(two_views(), samples())


BAD = {
    'saliency maps': dict(view_masks=[view_mask(SALIENT)]),
    'no mask generator looks at it': dict(saliency=SALIENCY),
    'has 4 stages': dict(view_masks=[view_mask(SALIENT)], saliency=dict(
        type='mimplug.SCDA', stage=4)),
    'nowhere.pth: no such file': dict(
        view_masks=[view_mask(SALIENT)], saliency=dict(
            type='mimplug.SCDA', backbone=dict(
                type='ResNet', depth=18, init_cfg=dict(
                    type='mimplug.Pretrained', checkpoint='nowhere.pth')))),
    'is masked twice': dict(view_masks=[view_mask(), view_mask()]),
    'sees the views': dict(view_masks=[view_mask(views=[1])]),
    'allowed are 0 and 1': dict(view_masks=[view_mask(views=[2])]),
    "did you mean 'query'": dict(view_masks=[view_mask(branch='qery')]),
    "did you mean 'cells'": dict(view_masks=[dict(
        mask_generator=RANDOM, fill=MEAN, cell=4)]),
    'needs fill': dict(view_masks=[dict(mask_generator=RANDOM)]),
    'list of dicts': dict(view_masks=view_mask()),
    'needs attention': dict(view_masks=[
        view_mask(dict(type='mimplug.AttentionMask'))]),
    'drops tokens': dict(view_masks=[
        view_mask(dict(type='mimplug.UniformCellMask'))]),
    'is for algorithms of MMPretrain': dict(data_preprocessor=dict(
        type='mimplug.MaskingDataPreprocessor',
        input_filter=dict(type='mimplug.HighPass'))),
    'momentum=1.5': dict(momentum=1.5),
    'queue=0': dict(queue=0),
    'temperature=0': dict(temperature=0),
    'no linear layer': dict(neck=dict(type='GlobalAveragePooling')),
    'split_bn=2': dict(split_bn=2, backbone=dict(
        norm_cfg=dict(type='GN', num_groups=2))),
}


@pytest.mark.parametrize('message', BAD)
def test_refused_when_built(message):
    with pytest.raises(ConfigError, match=message):
        tiny_siamese('MoCo', **BAD[message])


@pytest.mark.parametrize('name,kwargs,message', [
    ('SaliencyMoCo', dict(hard_negative_compat='first_image'), 'without'),
    ('SaliencyMoCo', dict(hard_negative=HARD, split_bn=2,
                          hard_negative_compat='first_image'), 'split_bn=2'),
    ('SaliencyMoCo', dict(hard_negative=dict(HARD, num=0)), 'num=0'),
    ('SaliencyMoCo', dict(hard_negative=dict(HARD, alpha=0)), 'alpha=0'),
    ('SimCLR', dict(view_masks=[view_mask(branch='key')]), 'key'),
    ('BYOL', dict(head=dict(type='ContrastiveHead', loss=dict(
        type='CrossEntropyLoss'))), 'LatentPredictHead')])
def test_others_refused_when_built(name, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        tiny_siamese(name, **kwargs)


def test_one_view_is_not_enough():
    with pytest.raises(ValueError, match='1 views'):
        tiny_siamese('MoCo').loss(two_views()[:1], samples())


def test_as_released_needs_as_many_images_as_masks():
    model = tiny_siamese('SaliencyMoCo', hard_negative=dict(HARD, num=3),
                         hard_negative_compat='first_image')
    with pytest.raises(ValueError, match='num=3'):
        model.loss(two_views(2), samples(2))


def test_pictures():
    model = tiny_siamese('MoCo', mixes=MIXES)
    shown = model.preview_masks(two_views(), samples())
    assert shown['hidden'].shape == (4, 4, 4)
    assert shown['hidden'].any()
    model = tiny_siamese('BYOL', view_masks=[view_mask(views=[0, 1])])
    shown = model.preview_masks(two_views()[:1], samples())
    assert shown['hidden'].shape == (8, 4, 4)
    assert shown['images'].shape == (8, 3, 32, 32)
    model = tiny_siamese('SimSiam')
    assert not model.preview_masks(two_views())['hidden'].any()


def test_simsiam_sees_a_masked_view_once_more_without_mask():
    for masks, passes in (([], 2), ([view_mask()], 3)):
        model = tiny_siamese('SimSiam', view_masks=masks)
        seen = encoded(model)
        model.loss(two_views(), samples())
        assert len(seen) == passes


def test_detached_hard_negatives_of_simclr_get_no_gradient():
    grads = []
    for detach in (False, True):
        model = tiny_siamese('SimCLR', hard_negative=HARD,
                             detach_hard=detach)
        total(model.loss(two_views(), samples())).backward()
        grads.append(model.backbone.conv1.weight.grad)
    assert not torch.allclose(*grads)
