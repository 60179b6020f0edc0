"""The ConvNet configs hold the arguments of the released code.

Values: README commands and defaults of the scripts of facebookresearch/moco,
joycenerd/Saliency-Guided-Masking-for-ConvNets, kirill-vish/MixMask and
szq0214/Un-Mix (``unmix_c100.py`` for CIFAR-100).
"""
from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torchvision
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mimplug.engine import scaled_lr
from mimplug.errors import ConfigError
from mimplug.masking import build_generator
from mimplug.masking.fills import BlurFill, MeanFill, NoiseFill, build_fill
from mimplug.masking.generators import FocalMask, MixedMask, SaliencyMask
from mimplug.masking.mixing import MaskMix, UnMix, build_mixer

CONFIGS = Path(__file__).parents[1] / 'configs'
METHODS = ('mixmask', 'moco', 'mscn', 'saliency_moco', 'unmix')
pytestmark = pytest.mark.unit


class Setting(NamedTuple):
    """One published pre-training run; lr is that of its batch."""
    gpus: int
    lr: float
    batch: int = 32
    epochs: int = 200
    decay: float = 1e-4


R50 = 'resnet50'
EIGHT = Setting(8, 0.03)
FOUR = Setting(4, 0.015)
CIFAR = 'moco/moco_resnet18_1xb512-coslr-1000e_cifar100'
SALIENCY = {
    kind: f'saliency_moco/saliency-moco-{kind}_{R50}_4xb32-coslr-200e_in100'
    for kind in ('hp', 'blur', 'mean')}
MIXMASK = f'mixmask/mixmask-mocov2_{R50}_8xb32-coslr-200e_in1k'
BOTH = f'mixmask/unmix-mixmask-mocov2_{R50}_8xb32-coslr-200e_in1k'
UNMIX = f'unmix/unmix-mocov2_{R50}_8xb32-coslr-200e_in1k'
PLAIN = f'moco/mocov2_{R50}_8xb32-coslr-200e_in1k'
SETTINGS = {
    PLAIN: EIGHT, UNMIX: EIGHT, MIXMASK: EIGHT, BOTH: EIGHT,
    **dict.fromkeys(SALIENCY.values(), FOUR),
    CIFAR: Setting(1, 0.06, batch=512, epochs=1000, decay=5e-4),
}
# one GPU, the same images a step -> the original
VARIANTS = {
    f'moco/mocov2_{R50}_1xb64-accum4-coslr-200e_in1k': PLAIN,
    f'mixmask/mixmask-mocov2_{R50}_1xb64-accum4-coslr-200e_in1k': MIXMASK,
    f'saliency_moco/saliency-moco-hp_{R50}_1xb64-accum2-coslr-200e_in100':
    SALIENCY['hp'],
}
PROBES = {
    f'moco/benchmarks/{R50}_mocov2-200e-pre_8xb32-linear-steplr-100e_in1k':
    PLAIN,
    f'mixmask/benchmarks/{R50}_mixmask-mocov2-200e-pre_8xb32-linear-steplr-'
    '100e_in1k': MIXMASK,
    f'mixmask/benchmarks/{R50}_unmix-mixmask-mocov2-200e-pre_8xb32-linear-'
    'steplr-100e_in1k': BOTH,
    **{f'saliency_moco/benchmarks/{R50}_saliency-moco-{kind}-200e-pre_4xb64-'
       'linear-steplr-100e_in100': SALIENCY[kind] for kind in SALIENCY},
}
settings = pytest.mark.parametrize('name, want', [
    pytest.param(name, want, id=Path(name).name)
    for name, want in SETTINGS.items()])


def load(name: str) -> Config:
    return Config.fromfile(str(CONFIGS / f'{name}.py'))


@settings
def test_batch_and_optimiser(name, want):
    cfg = load(name)
    optimizer = cfg.optim_wrapper.optimizer
    assert cfg.train_dataloader.batch_size == want.batch
    assert cfg.train_cfg.max_epochs == want.epochs
    assert optimizer.to_dict() == dict(
        type='SGD', lr=pytest.approx(want.lr, rel=1e-12), momentum=0.9,
        weight_decay=want.decay)
    base = 0.03 if want.batch == 32 else 0.06 / 2
    assert optimizer.lr == pytest.approx(
        scaled_lr(base, want.batch, world_size=want.gpus), rel=1e-12)
    # fp32, one group, one cosine that moves once an epoch
    assert cfg.optim_wrapper.keys() == {'type', 'optimizer'}
    (lr, ) = cfg.param_scheduler
    assert lr == dict(type='mimplug.WarmupCosineLR', hold=1, final=0.0,
                      convert_to_iter_based=True)


@settings
def test_network(name, want):
    model = load(name).model
    cifar = name == CIFAR
    assert (model.queue, model.momentum, model.temperature) == (
        (4096, 0.99, 0.1) if cifar else (65536, 0.999, 0.2))
    assert model.backbone.depth == (18 if cifar else 50)
    assert model.neck.out_channels == 128
    assert model.get('symmetric', False) == cifar
    assert model.get('split_bn') == (8 if cifar else None)
    assert model.neck.type == ('LinearNeck' if cifar else 'MoCoV2Neck')


@settings
def test_views(name, want):
    cfg = load(name)
    (crop, ) = (step for step in cfg.train_dataloader.dataset.pipeline
                if step.type == 'mimplug.MultiCrop')
    cifar = name == CIFAR
    assert 'local_crops' not in crop
    assert crop.global_crops == dict(
        num=2, size=32 if cifar else 224,
        scale=(0.08 if cifar else 0.2, 1.0), interpolation='bilinear',
        jitter=(0.4, 0.4, 0.4, 0.1), jitter_prob=0.8, gray_prob=0.2,
        solarize_prob=0.0, **(dict(blur_prob=0.0) if cifar else dict(
            blur_prob=0.5, blur_radius=(0.1, 2.0))))
    kind = cfg.train_dataloader.dataset.dataset.type
    assert kind == ('CIFAR100' if cifar else 'mimplug.ImageNet100'
                    if name.endswith('in100') else 'ImageNet')


def cells(generator, mode, low, high):
    """What all cell masks of a strategy share."""
    assert isinstance(generator, SaliencyMask)
    assert (generator.mode, generator.guided) == (mode, True)
    # what was meant, without the defects
    assert generator.rule == dict(
        num_stds=0.6, keep_largest=False, row_sort_compat=False)
    assert not generator.list_compat
    ratio = generator.ratio
    assert (ratio.mean - ratio.var, ratio.mean + ratio.var) == pytest.approx(
        (low, high))


@pytest.mark.parametrize('strategy', ['blur', 'mean'])
def test_saliency_on_plain_images(strategy):
    model = load(SALIENCY[strategy]).model
    (query, ) = model.view_masks
    hard = model.hard_negative
    assert (list(query.views), query.cells, hard.cells) == ([0], 7, 7)
    assert (hard.num, hard.alpha) == (1, 2.0)
    assert 'input_filter' not in model
    cells(build_generator(query.mask_generator), 'balanced', 0.05, 0.25)
    cells(build_generator(hard.mask_generator), 'foreground', 0.4, 0.7)
    for part in (query, hard):
        fill = build_fill(part.fill)
        if strategy == 'mean':
            assert isinstance(fill, MeanFill)
        else:
            assert isinstance(fill, BlurFill)
            assert (fill.kernel_size, fill.sigma) == (31, 10.0)
            assert fill.reference_size is None


def test_saliency_on_filtered_images():
    model = load(SALIENCY['hp']).model
    assert model.input_filter == dict(
        type='mimplug.HighPass', kernel_size=11, sigma=5.0)
    (query, ) = model.view_masks
    hard = model.hard_negative
    assert (hard.num, hard.alpha) == (1, 2.0)
    for part, mode, side, std, low, high in (
            (query, 'balanced', 200, 0.18, 0.05, 0.25),
            (hard, 'foreground', 130, 0.14, 0.4, 0.7)):
        mixed = build_generator(part.mask_generator)
        assert isinstance(mixed, MixedMask)
        focal, spatial, channel = mixed.generators
        assert isinstance(focal, FocalMask)
        assert focal.side * 224 == pytest.approx(side)
        assert focal.hide == ('outside' if mode == 'balanced' else 'inside')
        for generator, apart in ((spatial, False), (channel, True)):
            cells(generator, mode, low, high)
            assert generator.cap == 0.55
            assert generator.channels == (3 if apart else 1)
        assert tuple(mixed.probs) == pytest.approx((0.2, 0.24, 0.56))
        fill = build_fill(part.fill)
        assert isinstance(fill, NoiseFill)
        assert (fill.std, fill.patch) == (std, 'shared')


@pytest.mark.parametrize('name', SALIENCY.values(), ids=list(SALIENCY))
def test_localiser(name):
    saliency = load(name).model.saliency
    assert saliency.supervised is True
    assert (saliency.backbone.type, saliency.backbone.depth) == ('ResNet', 50)
    assert saliency.backbone.init_cfg.checkpoint.endswith(
        'resnet50-11ad3fa6.pth')
    with pytest.raises(ConfigError, match='no such file'):
        MODELS.build(saliency)


@pytest.mark.full
def test_localiser_is_torchvisions_network(tmp_path):
    """Its file fits, and the map is that of the children before the pool."""
    released = torchvision.models.resnet50().eval()
    torch.save(released.state_dict(), tmp_path / 'resnet50.pth')
    cfg = load(SALIENCY['mean']).model.saliency
    cfg.backbone.init_cfg.checkpoint = str(tmp_path / 'resnet50.pth')
    localiser = MODELS.build(cfg)
    localiser.init_weights()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = torch.nn.Sequential(*list(released.children())[:-2])(images)
    torch.testing.assert_close(localiser(images), maps.sum(1))
    assert localiser.record['supervised'] is True
    assert len(localiser.record['sha256']) == 64


def test_mixtures():
    assert 'mixes' not in load(PLAIN).model
    (global_mix, ) = map(build_mixer, load(UNMIX).model.mixes)
    (mask_mix, ) = map(build_mixer, load(MIXMASK).model.mixes)
    both = list(map(build_mixer, load(BOTH).model.mixes))
    # in the order of the passes of the release
    assert [type(mixer) for mixer in both] == [UnMix, MaskMix]
    for mixer in (global_mix, both[0]):
        assert isinstance(mixer, UnMix)
        assert (mixer.prob, mixer.beta, mixer.partner) == (
            0.5, 1.0, 'reverse')
    for mixer, partner in ((mask_mix, 'reverse'), (both[1], 'permutation')):
        assert isinstance(mixer, MaskMix)
        assert (mixer.grid, mixer.partner) == ((8, 8), partner)
        generator = mixer.mask_generator
        assert (generator.keep, generator.min_cells, generator.per) == (
            0.5, 4, 'batch')


@pytest.mark.parametrize('name', VARIANTS, ids=lambda name: Path(name).name)
def test_variant_differs_in_batch_only(name):
    variant, original = load(name), load(VARIANTS[name])
    gpus = SETTINGS[VARIANTS[name]].gpus
    batch = variant.train_dataloader.pop('batch_size')
    small = original.train_dataloader.pop('batch_size')
    accumulation = variant.optim_wrapper.pop('accumulative_counts')
    assert batch * accumulation == small * gpus
    # as many images in a batch norm as on one GPU
    assert batch // variant.model.pop('split_bn') == small
    lr = variant.optim_wrapper.optimizer.pop('lr')
    assert lr == pytest.approx(
        original.optim_wrapper.optimizer.pop('lr'), rel=1e-12)
    assert variant.to_dict() == original.to_dict()


@pytest.mark.parametrize('name', PROBES, ids=lambda name: Path(name).name)
def test_linear_probe(name):
    cfg, before = load(name), PROBES[name]
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=30.0, momentum=0.9, weight_decay=0.0)
    assert cfg.train_cfg.max_epochs == 100
    (steps, ) = cfg.param_scheduler
    assert (steps.milestones, steps.gamma) == ([60, 80], 0.1)
    gpus = int(name.split('-pre_')[1].split('xb')[0])
    assert gpus * cfg.train_dataloader.batch_size == 256
    backbone, head = cfg.model.backbone, cfg.model.head
    assert (backbone.frozen_stages, backbone.norm_eval) == (4, True)
    assert backbone.init_cfg.prefix == 'backbone.'
    assert Path(before).name in backbone.init_cfg.checkpoint
    assert head.init_cfg == dict(
        type='Normal', layer='Linear', std=0.01, bias=0)
    assert head.num_classes == (100 if name.endswith('in100') else 1000)


@pytest.mark.parametrize('path', sorted(CONFIGS.glob('*/benchmarks/*.py')),
                         ids=lambda path: path.stem)
def test_a_probe_reads_a_config_of_its_method_and_keeps_its_filter(path):
    cfg = Config.fromfile(str(path))
    name = Path(cfg.model.backbone.init_cfg.checkpoint).parent.name
    before = load(f'{path.parents[1].name}/{name}')
    filters = [hook.input_filter for hook in cfg.get('custom_hooks', ())
               if hook.type == 'mimplug.InputFilterHook']
    own = before.model.get('input_filter')
    assert filters == ([] if own is None else [own])


def test_every_config_is_published_variant_or_unverified():
    known = SETTINGS.keys() | VARIANTS.keys() | PROBES.keys()
    found = {str(path.relative_to(CONFIGS).with_suffix(''))
             for method in METHODS
             for path in (CONFIGS / method).rglob('*.py')}
    assert known <= found
    for name in found - known:
        text = (CONFIGS / f'{name}.py').read_text()
        assert text.startswith('# Unverified:'), name
