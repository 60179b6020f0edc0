"""The thesis' configs: example arguments, intended masks, marked defects.

Values: ``train_example.slurm`` of DimitrisReppas/MIM_on_self-supervision, and
defaults of ``multimask_main_ibot.py`` and
``contrastive_3rd_term_main_ibot.py`` where it is silent.
"""
from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config

from mimplug.masking import (
    AttentionMask,
    LogScore,
    PerView,
    PowerScore,
    RawScore,
    RolloutScore,
    TopSelector,
    UniformRatio,
    build_generator,
)

FOLDER = Path(__file__).parents[1] / 'configs' / 'attmask_thesis'
TRAINING = '_vit-small-p16_4xb16-amp-coslr-100e_in1k'
# Spec of each view, as (score, settings); two for masks by crop.
RAW = (RawScore, dict(layer=11))


def rollout(layers, order, normalise):
    return RolloutScore, dict(layers=layers, order=order, normalise=normalise)


ALL, LAST, MID = (rollout(layers, 'standard', True)
                  for layers in (range(12), range(8, 12), range(4, 8)))
MASKS = {
    'layer11': RAW,
    'layer8': (RawScore, dict(layer=8)),
    'layer4': (RawScore, dict(layer=4)),
    'layer0': (RawScore, dict(layer=0)),
    'log': (LogScore, dict(layer=11, legacy_running_sum=False)),
    'log-ref': (LogScore, dict(layer=11, legacy_running_sum=True)),
    'power': (PowerScore, dict(layer=11, power=0.5,
                               legacy_running_sum=False)),
    'rollout-all': ALL,
    'rollout-last': LAST,
    'rollout-mid': MID,
    'rollout-last-ref': rollout(range(8, 12), 'reversed', False),
    'multilayer': (RAW, (RawScore, dict(layer=4))),
    'multirollout': (LAST, MID),
    'pairs': RAW,
    'pairs-ref': RAW,
}
PATHS = sorted(FOLDER.glob('*.py'))
paths = pytest.mark.parametrize(
    'path', PATHS, ids=[path.stem.split('_')[0] + path.stem[-6:]
                        for path in PATHS])
pytestmark = pytest.mark.unit


def kind(path):
    return path.stem.split('_')[0].removeprefix('attmask-')


def test_every_family_has_its_config():
    assert {path.stem for path in PATHS} == {
        f'attmask-multilayer{TRAINING}',
        *(f'attmask-{name}{TRAINING}-20pct' for name in MASKS)}


@paths
def test_example_arguments(path):
    cfg = Config.fromfile(str(path))
    wrapper, optimizer = cfg.optim_wrapper, cfg.optim_wrapper.optimizer
    assert cfg.train_dataloader.batch_size == 16
    assert cfg.train_dataloader.num_workers == 10
    assert cfg.train_cfg.max_epochs == 100
    # 5e-4 * 64 / 256
    assert optimizer.lr == pytest.approx(1.25e-4, rel=1e-12)
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0.04)
    assert wrapper.dtype == 'float16'
    assert wrapper.clip_grad == dict(max_norm=3.0, per_tensor=True)
    lr, decay = cfg.param_scheduler
    assert (lr.warmup, lr.final, decay.final) == (10, 1e-6, 0.4)
    teacher, freeze = cfg.custom_hooks[:2]
    assert (teacher.type, teacher.momentum, teacher.final_momentum) == (
        'mimplug.TeacherHook', 0.99, 1.0)
    assert (freeze.type, freeze.names, freeze.epochs) == (
        'mimplug.FreezeHook', ['last_layer'], 1)
    model = cfg.model
    assert (model.backbone.arch, model.backbone.drop_path_rate) == (
        'deit-small', 0.1)
    assert (model.head.num_prototypes, model.head.shared,
            model.head.norm_last_layer) == (8192, True, False)
    heat = dict(start=0.04, final=0.07, warmup_epochs=1)
    assert model.teacher_temperature == model.patch_temperature == heat
    assert (model.loss.cls_weight, model.loss.patch_weight) == (1.0, 1.0)
    assert cfg.randomness.seed == 0


@paths
def test_crops_and_fifth_of_the_data(path):
    cfg = Config.fromfile(str(path))
    keyed = cfg.train_dataloader.dataset
    crop = keyed.pipeline[1]
    assert (crop.global_crops.num, tuple(crop.global_crops.scale)) == (
        2, (0.25, 1.0))
    assert (crop.local_crops.num, tuple(crop.local_crops.scale)) == (
        6, (0.05, 0.25))
    bank = cfg.val_cfg.bank.dataset.dataset
    assert keyed.dataset == bank
    if path.stem.endswith('20pct'):
        assert (keyed.dataset.share, keyed.dataset.num_classes) == (0.2, 1000)
        assert 'per_class' not in keyed.dataset
    else:
        assert keyed.dataset.type == 'ImageNet'
    assert cfg.val_dataloader.dataset.dataset.split == 'val'


def check_mask(generator, want):
    """High, a ratio for each view, half of the views; the wanted score."""
    assert type(generator) is AttentionMask
    assert type(generator.select) is TopSelector
    ratio = generator.ratio
    assert type(ratio) is UniformRatio
    assert (ratio.mean, ratio.var, ratio.per) == (0.3, 0.2, 'view')
    assert generator.apply_prob == 0.5
    score, (cls, settings) = generator.score, want
    assert type(score) is cls
    if cls is not RolloutScore:
        assert {name: getattr(score, name) for name in settings} == settings
        return
    assert list(score.span.layers(12)) == list(settings['layers'])
    assert score.order == settings['order']
    assert score.options == dict(
        residual=1.0, head_fusion='mean', discard_ratio=0.0,
        normalise=settings['normalise'])


@paths
def test_masks(path):
    generator = build_generator(
        Config.fromfile(str(path)).model.mask_generator)
    generator.check((14, 14), 12)
    want = MASKS[kind(path)]
    if not kind(path).startswith('multi'):
        check_mask(generator, want)
        return
    assert type(generator) is PerView
    assert generator.assign == 'by_crop'
    for part, view in zip(generator.generators, want, strict=True):
        check_mask(part, view)


@paths
def test_third_term(path):
    term = Config.fromfile(str(path)).model.get('pair_term')
    want = {
        'pairs': dict(source='student_anchor', formula='infonce'),
        'pairs-ref': dict(source='teacher', formula='reference'),
    }.get(kind(path))
    if want is not None:
        want = dict(num_pairs=3, temperature=0.2, weight=1.0, **want)
    assert term == want
