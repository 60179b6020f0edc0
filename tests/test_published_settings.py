"""The reproduction configs hold the arguments of the released READMEs.

Values: training commands in the READMEs of gkakogeorgiou/attmask and
bytedance/ibot, and defaults of their ``main_*.py`` where a command is silent.
"""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mimplug.converters.keys_ibot import write_ibot_training
from mimplug.engine import scaled_lr
from mimplug.masking import (
    BlockMask,
    ChoiceRatio,
    HintSelector,
    TopSelector,
    UniformRatio,
    build_generator,
)
from mimplug.masking.select import BottomSelector

CONFIGS = Path(__file__).parents[1] / 'configs'


class Setting(NamedTuple):
    """One row of the published table."""
    gpus: int
    batch: int
    lr: float
    epochs: int
    momentum: float = 0.996
    num_locals: int = 10
    edge: float = 0.25
    per_class: int | None = None


VIT = 'vit-small-p16'
FIFTH = Setting(4, 60, 4.6875e-4, 100, momentum=0.99, num_locals=6,
                per_class=260)
SETTINGS = {
    f'attmask/attmask-hint_{VIT}_4xb60-amp-coslr-100e_in1k':
    Setting(4, 60, 4.6875e-4, 100),
    f'attmask/attmask-high_{VIT}_4xb60-amp-coslr-100e_in1k':
    Setting(4, 60, 4.6875e-4, 100),
    f'attmask/attmask-high_{VIT}_8xb100-amp-coslr-300e_in1k':
    Setting(8, 100, 1.5625e-3, 300, edge=0.32),
    f'attmask/attmask-hint_{VIT}_4xb60-amp-coslr-100e_in1k-20pct': FIFTH,
    f'attmask/attmask-high_{VIT}_4xb60-amp-coslr-100e_in1k-20pct': FIFTH,
    f'attmask/attmask-low_{VIT}_4xb60-amp-coslr-100e_in1k-20pct': FIFTH,
    f'ibot/ibot_{VIT}_16xb64-amp-coslr-800e_in1k':
    Setting(16, 64, 2e-3, 800),
}
# variant -> original: one GPU, the same optimiser steps
VARIANTS = {
    f'attmask/attmask-hint_{VIT}_1xb60-accum4-amp-coslr-100e_in1k':
    f'attmask/attmask-hint_{VIT}_4xb60-amp-coslr-100e_in1k',
    f'attmask/attmask-high_{VIT}_1xb60-accum4-amp-coslr-100e_in1k':
    f'attmask/attmask-high_{VIT}_4xb60-amp-coslr-100e_in1k',
    f'attmask/attmask-high_{VIT}_1xb60-accum4-amp-coslr-100e_in1k-20pct':
    f'attmask/attmask-high_{VIT}_4xb60-amp-coslr-100e_in1k-20pct',
    f'ibot/ibot_{VIT}_1xb64-accum16-amp-coslr-800e_in1k':
    f'ibot/ibot_{VIT}_16xb64-amp-coslr-800e_in1k',
}
settings = pytest.mark.parametrize('name, want', [
    pytest.param(name, want, id=Path(name).name)
    for name, want in SETTINGS.items()])


def load(name: str) -> Config:
    return Config.fromfile(str(CONFIGS / f'{name}.py'))


def hook(cfg: Config, kind: str) -> Any:
    (found, ) = (one for one in cfg.custom_hooks if one.type == kind)
    return found


@pytest.mark.unit
@settings
def test_batch_and_optimiser(name, want):
    cfg = load(name)
    wrapper, optimizer = cfg.optim_wrapper, cfg.optim_wrapper.optimizer
    assert cfg.train_dataloader.batch_size == want.batch
    assert cfg.train_cfg.max_epochs == want.epochs
    assert optimizer.lr == pytest.approx(want.lr, rel=1e-12)
    assert optimizer.lr == pytest.approx(
        scaled_lr(5e-4, want.batch, world_size=want.gpus), rel=1e-12)
    assert (optimizer.type, optimizer.weight_decay) == ('AdamW', 0.04)
    assert (optimizer.betas, optimizer.eps) == ((0.9, 0.999), 1e-8)
    assert wrapper.dtype == 'float16'
    assert wrapper.clip_grad == dict(max_norm=3.0, per_tensor=True)
    lr, decay = cfg.param_scheduler
    assert (lr.type, lr.warmup, lr.final) == (
        'mimplug.WarmupCosineLR', 10, 1e-6)
    assert (decay.type, decay.final) == ('mimplug.CosineWeightDecay', 0.4)
    assert cfg.randomness.seed == 0


@pytest.mark.unit
@settings
def test_teacher_and_model(name, want):
    cfg = load(name)
    teacher = hook(cfg, 'mimplug.TeacherHook')
    assert (teacher.momentum, teacher.final_momentum) == (want.momentum, 1.0)
    freeze = hook(cfg, 'mimplug.FreezeHook')
    assert (freeze.names, freeze.epochs) == (['last_layer'], 1)
    model = cfg.model
    assert (model.backbone.arch, model.backbone.drop_path_rate,
            model.backbone.interpolate_offset) == ('deit-small', 0.1, 0.1)
    assert (model.head.num_prototypes, model.head.shared,
            model.head.norm_last_layer) == (8192, True, False)
    heat = dict(start=0.04, final=0.07, warmup_epochs=30)
    assert model.teacher_temperature == model.patch_temperature == heat
    assert model.loss == dict(
        student_temperature=0.1, center_momentum=0.9,
        patch_center_momentum=0.9, cls_weight=1.0, patch_weight=1.0)


@pytest.mark.unit
@settings
def test_crops_and_data(name, want):
    keyed = load(name).train_dataloader.dataset
    (crop, ) = (step for step in keyed.pipeline
                if step.type == 'mimplug.MultiCrop')
    views, small = crop.global_crops, crop.local_crops
    assert (views.num, views.size) == (2, 224)
    assert tuple(views.scale) == (want.edge, 1.0)
    assert (small.num, small.size) == (want.num_locals, 96)
    assert tuple(small.scale) == (0.05, want.edge)
    assert keyed.dataset.get('per_class') == want.per_class


@pytest.mark.unit
@settings
def test_masks(name, want):
    generator = build_generator(load(name).model.mask_generator)
    ratio = generator.ratio
    if 'ibot/' in name:
        assert isinstance(generator, BlockMask)
        assert isinstance(ratio, ChoiceRatio)
        assert ratio.entries == ((0.0, 0.0), (0.3, 0.2))
        assert ratio.per == 'view'
        return
    assert isinstance(ratio, UniformRatio)
    assert (ratio.mean, ratio.var, ratio.per) == (0.3, 0.2, 'batch')
    assert (generator.apply_prob, generator.score.layer) == (0.5, -1)
    mode = name.split('attmask-')[1].split('_')[0]
    select = dict(high=TopSelector, low=BottomSelector,
                  hint=HintSelector)[mode]
    assert type(generator.select) is select
    if mode == 'hint':
        assert (generator.select.show_max,
                generator.select.show_ratio) == (0.1, None)


@pytest.mark.unit
@pytest.mark.parametrize('name', VARIANTS, ids=lambda name: Path(name).name)
def test_variant_differs_in_batch_only(name):
    variant, original = load(name), load(VARIANTS[name])
    gpus = SETTINGS[VARIANTS[name]].gpus
    assert variant.optim_wrapper.pop('accumulative_counts') == gpus
    lr = variant.optim_wrapper.optimizer.pop('lr')
    assert lr == pytest.approx(
        original.optim_wrapper.optimizer.pop('lr'), rel=1e-12)
    assert variant.to_dict() == original.to_dict()


@pytest.mark.unit
def test_every_config_is_published_variant_or_unverified():
    rest = {
        f'{path.parent.name}/{path.stem}'
        for method in ('attmask', 'attmask_thesis', 'ibot')
        for path in (CONFIGS / method).glob('*.py')
    } - SETTINGS.keys() - VARIANTS.keys()
    for name in rest:
        text = (CONFIGS / f'{name}.py').read_text()
        assert text.startswith('# Unverified:'), name


@pytest.mark.unit
def test_start_from_a_release_checkpoint(tmp_path):
    """Student and teacher begin as the teacher of the file."""
    name = f'attmask/attmask-high_{VIT}_ibot-800e-pre_4xb60-amp-coslr-20e_in1k'
    cfg = load(name).model
    cfg.backbone.update(arch=dict(embed_dims=32, num_layers=2, num_heads=2,
                                  feedforward_channels=64))
    cfg.head.update(num_prototypes=16, hidden_channels=32,
                    bottleneck_channels=8)
    start = copy.deepcopy(cfg)
    for part in (start.backbone, start.head):
        part.pop('init_cfg')
    released = MODELS.build(start)
    released.init_weights()
    for value in released.teacher.parameters():
        value.add_(torch.randn_like(value))
    torch.save(write_ibot_training(released.state_dict()), tmp_path / 'f.pth')
    for part in (cfg.backbone, cfg.head):
        part.init_cfg.checkpoint = str(tmp_path / 'f.pth')
    model = MODELS.build(cfg)
    model.init_weights()
    want = released.teacher.state_dict()
    student, teacher = model.state_dict(), model.teacher.state_dict()
    assert teacher.keys() == want.keys()
    for key, value in want.items():
        torch.testing.assert_close(student[key], value, rtol=0, atol=0)
        torch.testing.assert_close(teacher[key], value, rtol=0, atol=0)
    assert not student['backbone.mask_token'].any()
