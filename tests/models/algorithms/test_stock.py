"""MMPretrain's algorithms with our masks are MMPretrain's algorithms."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mmpretrain.models import selfsup
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from toy_stock import (
    STOCK,
    build_stock,
    cae,
    mae,
    make_images,
    network,
    simmim,
)

from mimplug.errors import ConfigError
from mimplug.masking import Mask
from mimplug.models.algorithms.takes_masks import attach_masks
from mimplug.schedules import Progress

sys.path.append(str(Path(__file__).parents[2] / 'engine'))
from sync_detector import SyncDetector

pytestmark = pytest.mark.unit
HALF = dict(type='mimplug.RandomMask', ratio=0.5)
READS_SAMPLES = [name for name in STOCK if name != 'mae']


def build(name, generator=HALF, **kwargs):
    model = build_stock(name, generator, **kwargs)
    model.set_progress(Progress(step=0, max_steps=9))
    return model


def samples(batch=2, first=0, epoch=0):
    return [DataSample(metainfo=dict(sample_key=(epoch, first + i, 0)))
            for i in range(batch)]


def stock_of(model):
    """The stock algorithm with the weights of ours."""
    kind = getattr(selfsup, type(model).__name__)
    config = STOCK[{'SimMIM': 'simmim', 'MAE': 'mae', 'CAE': 'cae',
                    'MaskFeat': 'maskfeat', 'BEiT': 'beitv2'
                    if model.with_neck else 'beit'}[kind.__name__]]()
    config.update(type=kind.__name__)
    if kind is selfsup.MAE:
        config['backbone']['type'] = 'MAEViT'
    built = MODELS.build(config)
    built.load_state_dict(model.state_dict())
    if built.target_generator is not None:
        built.target_generator.eval()
    return built


@pytest.mark.parametrize('name', READS_SAMPLES)
def test_the_loss_is_the_stock_one(name):
    model, inputs, keyed = build(name), make_images(name), samples()
    losses = model.loss(inputs, keyed)
    assert losses.pop('raw/hidden') == 0.5
    stock = stock_of(model).loss(inputs, keyed)
    assert stock.keys() == losses.keys()
    for key, value in stock.items():
        assert torch.equal(losses[key], value)


def test_maes_loss_is_the_stock_one(monkeypatch):
    model, inputs = build('mae'), make_images('mae')
    stock = stock_of(model)
    mask = model.make_mask(inputs, samples()).tokens

    def masking(x, ratio):
        order = mask.byte().sort(dim=1, stable=True).indices
        kept = x.gather(1, order[:, :8, None].expand(-1, -1, x.shape[2]))
        return kept, mask.float(), order.argsort(1)

    monkeypatch.setattr(stock.backbone, 'random_masking', masking)
    assert torch.equal(model.loss(inputs, samples())['loss'],
                       stock.loss(inputs, samples())['loss'])


@pytest.mark.parametrize('name', STOCK)
def test_weights_have_the_stock_names(name):
    model = build(name)
    assert model.state_dict().keys() == stock_of(model).state_dict().keys()
    looking = build(name, dict(
        type='mimplug.AttentionMask', ratio=0.5, apply_prob=1.0))
    more = looking.state_dict().keys() - model.state_dict().keys()
    assert more
    assert all(key.startswith('mask_source.network.') for key in more)


@pytest.mark.parametrize('name', READS_SAMPLES)
def test_samples_get_views_of_one_tensor(name):
    model, keyed = build(name), samples()
    model.loss(make_images(name), keyed)
    first, second = (sample.mask for sample in keyed)
    assert first.dtype == torch.bool
    assert first.shape == tuple(model.backbone.patch_embed.init_out_size)
    assert (first.untyped_storage().data_ptr()
            == second.untyped_storage().data_ptr())


def test_samples_are_made_where_there_are_none():
    mask = Mask(torch.ones(3, 1, 2, 2, dtype=torch.bool))
    assert len(attach_masks(mask)) == 3
    assert torch.isfinite(build('simmim').loss(make_images('simmim'))['loss'])


@pytest.mark.parametrize('name', STOCK)
def test_masks_follow_the_keys(name):
    model, images = build(name), make_images(name, batch=4)
    hidden = model.preview_masks(images, samples(4))['hidden']
    part = [image[2:] for image in images] if isinstance(
        images, list) else images[2:]
    assert torch.equal(
        model.preview_masks(part, samples(2, first=2))['hidden'], hidden[2:])
    later = model.preview_masks(images, samples(4, epoch=1))['hidden']
    assert not torch.equal(later, hidden)
    # without keys the position counts, and the step
    first = model.preview_masks(images)['hidden']
    model.set_progress(Progress(step=1, max_steps=9))
    assert not torch.equal(model.preview_masks(images)['hidden'], first)
    assert torch.equal(
        model.preview_masks(images, samples(4))['hidden'], hidden)


@pytest.mark.parametrize('name', ['simmim', 'beit', 'beitv2', 'maskfeat'])
def test_a_batch_of_one_without_a_mask(name):
    never = dict(HALF, apply_prob=0.0)
    model = build(name, never)
    losses = model.loss(make_images(name, batch=1), samples(1))
    assert torch.isfinite(model.parse_losses(losses)[0])
    assert 0 < losses['raw/hidden'] < 0.1


def test_coarse_network_for_fine_patches():
    model = build('simmim', dict(
        type='mimplug.AttentionMask', ratio=0.5, apply_prob=1.0),
        attention_from=network(16))
    preview = model.preview_masks(make_images('simmim'), samples())
    assert preview['hidden'].shape == (2, 8, 8)
    assert preview['attention'].shape == (2, 2, 2)
    assert preview['hidden'].float().mean() == 0.5
    assert build('simmim').preview_masks(
        make_images('simmim'))['attention'] is None


def test_nothing_moves_at_the_end_of_a_step():
    model = build('mae')
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.step_end(0.5, finite=torch.tensor(True))
    assert all(torch.equal(value, before[key])
               for key, value in model.state_dict().items())


def test_the_position_must_be_known():
    model = build_stock('simmim', HALF)
    with pytest.raises(RuntimeError, match='ProgressHook'):
        model.loss(make_images('simmim'))


@pytest.mark.parametrize('name,generator', [
    ('mae', HALF), ('simmim', HALF), ('maskfeat', HALF),
    ('mae', dict(type='mimplug.AMTMask')),
    ('simmim', dict(type='mimplug.AttentionMask', ratio=0.5)),
    ('beit', dict(type='mimplug.BlockMask', ratio=0.4))])
def test_masks_do_not_wait_for_the_device(name, generator):
    model, images = build(name, generator), make_images(name)
    whole = name in ('mae', 'simmim', 'maskfeat')
    keyed = samples()
    step = model.loss if whole else model.make_mask
    with SyncDetector() as detector:
        detector.on = True
        step(images, keyed)
        detector.on = False
    assert detector.found == []


def test_mae_wants_its_own_backbone():
    config = mae()
    config['backbone']['type'] = 'MAEViT'
    with pytest.raises(ConfigError, match=r'mimplug\.MAEViT'):
        MODELS.build(dict(config, mask_generator=HALF))


def test_cae_counts_its_mask_tokens():
    with pytest.raises(ConfigError, match=r'mask_tokens_num=5.* 8 patches'):
        MODELS.build(dict(cae(tokens=5), mask_generator=HALF))


def test_a_backbone_without_patches():
    config = dict(simmim(), backbone=dict(type='ResNet', depth=18))
    with pytest.raises(ConfigError, match=r'ResNet.*patch embedding'):
        MODELS.build(dict(config, mask_generator=HALF))


def test_bfloat16():
    model = build('mae')
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(make_images('mae'), samples())
    losses['loss'].backward()
    assert torch.isfinite(losses['loss'])
