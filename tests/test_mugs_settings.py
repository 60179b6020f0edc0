"""configs/mugs holds the arguments of the release, as its goldens list them.

Values: ``pretraining.sh`` and the README of sail-sg/mugs; rates, decay and
temperatures also stand in ``schedules.npz``.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mmengine.config import Config

from mimplug.datasets import MugsMultiCrop
from mimplug.datasets.transforms.rand_augment import RandAugmentSpec
from mimplug.engine import scaled_lr

CONFIGS = Path(__file__).parents[1] / 'configs'
VIT = 'vit-small-p16'


class Setting(NamedTuple):
    """One column of the published table."""
    golden: str
    gpus: int
    batch: int
    arch: str = 'deit-small'
    drop_path: float = 0.1
    freeze: int = 1
    norm_last_layer: bool = False
    knn_temperature: float = 0.05


SETTINGS = {
    f'mugs_{VIT}_8xb64-coslr-100e_in1k': Setting('vit_small_100ep', 8, 64),
    f'mugs_{VIT}_16xb64-coslr-300e_in1k': Setting('vit_small_300ep', 16, 64),
    f'mugs_{VIT}_16xb64-coslr-800e_in1k': Setting('vit_small_800ep', 16, 64),
    'mugs_vit-base-p16_24xb42-coslr-400e_in1k': Setting(
        'vit_base_400ep', 24, 42, 'base', freeze=3, knn_temperature=0.04),
    'mugs_vit-large-p16_40xb16-coslr-250e_in1k': Setting(
        'vit_large_250ep', 40, 16, 'large', 0.3, 3, True, 0.04),
}
VARIANT = f'mugs_{VIT}_1xb64-accum8-coslr-100e_in1k'
MASKED = f'mugs-attmask-high_{VIT}_8xb64-coslr-100e_in1k'
ORIGINAL = f'mugs_{VIT}_8xb64-coslr-100e_in1k'
settings = pytest.mark.parametrize('name, want', SETTINGS.items())


def load(name: str) -> Config:
    return Config.fromfile(str(CONFIGS / f'mugs/{name}.py'))


def hooks(cfg: Config) -> dict[str, Any]:
    found = {one.type: one for one in cfg.custom_hooks}
    assert len(found) == len(cfg.custom_hooks)
    return found


@pytest.mark.golden('mugs', 'schedules')
@settings
def test_schedules(golden, name, want):
    cfg = load(name)
    (epochs, warmup, lr, batch, min_lr, decay, decay_end, momentum, heat,
     heat_end, heat_epochs) = golden[
        f'{want.golden}/hyper_epochs_warmup_lr_batch_minlr_wd_wdend_mom_'
        'tw_t_twe'].tolist()
    assert want.gpus * want.batch == batch
    assert cfg.train_dataloader.batch_size == want.batch
    assert cfg.auto_scale_lr.base_batch_size == batch
    assert cfg.train_cfg.max_epochs == epochs
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.lr == pytest.approx(
        scaled_lr(lr, want.batch, world_size=want.gpus), rel=1e-12)
    assert optimizer.weight_decay == decay
    rate, weight_decay = cfg.param_scheduler
    assert (rate.type, rate.warmup, rate.final) == (
        'mimplug.WarmupCosineLR', warmup, min_lr)
    assert (weight_decay.type, weight_decay.final) == (
        'mimplug.CosineWeightDecay', decay_end)
    teacher = hooks(cfg)['mimplug.TeacherHook']
    assert (teacher.momentum, teacher.final_momentum) == (momentum, 1.0)
    assert cfg.model.group.teacher_temperature == dict(
        start=heat, final=heat_end, warmup_epochs=heat_epochs)


@pytest.mark.unit
@settings
def test_optimiser(name, want):
    cfg = load(name)
    wrapper, optimizer = cfg.optim_wrapper, cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.betas, optimizer.eps) == (
        'AdamW', (0.9, 0.999), 1e-8)
    assert wrapper.constructor == 'mimplug.TwoGroupConstructor'
    assert wrapper.paramwise_cfg == dict(lr_mult={'patch_embed': 0.2})
    assert wrapper.clip_grad == dict(max_norm=3.0, per_tensor=True)
    assert wrapper.get('dtype') is None
    found = hooks(cfg)
    assert found['mimplug.FreezeHook'].names == ['last_layer']
    assert found['mimplug.FreezeHook'].epochs == want.freeze
    # 'epoch > 100' divides the limit by 10, for ViT-L only
    clip = found.get('mimplug.ClipHook')
    assert (clip is not None) == (want.arch == 'large')
    assert clip is None or (clip.epoch, clip.max_norm) == (101, 0.3)
    assert cfg.default_hooks.milestone.interval == 50
    assert cfg.val_cfg.temperature == want.knn_temperature


@pytest.mark.unit
@settings
def test_model(name, want):
    model = load(name).model
    assert (model.type, model.backbone.type) == (
        'mimplug.Mugs', 'mimplug.LocalGroupViT')
    assert (model.backbone.arch, model.backbone.patch_size,
            model.backbone.drop_path_rate) == (want.arch, 16, want.drop_path)
    assert model.backbone.interpolate_offset == 0.1
    assert model.backbone.num_relation_blocks == 1
    assert model.instance == dict(queue=65536, temperature=0.2)
    assert model.local_group == dict(
        queue=65536, temperature=0.2, memory=65536, neighbours=8,
        legacy_pointer=True)
    assert model.group.head == dict(
        num_prototypes=65536, norm_last_layer=want.norm_last_layer)
    assert (model.group.student_temperature,
            model.group.center_momentum) == (0.1, 0.9)


@pytest.mark.unit
@settings
def test_crops(name, want):
    (crop, ) = (dict(step) for step
                in load(name).train_dataloader.dataset.pipeline
                if step.type == 'mimplug.MugsMultiCrop')
    del crop['type']
    views = MugsMultiCrop(**crop)
    assert views.num_views == 14
    for spec, num, size, scale in (
            (views.global_crops, 2, 224, (0.25, 1.0)),
            (views.local_crops, 10, 96, (0.05, 0.25))):
        assert (spec.num, spec.size, tuple(spec.scale)) == (num, size, scale)
        assert spec.jitter == (0.4, 0.4, 0.2, 0.1)
        assert (spec.jitter_prob, spec.gray_prob, spec.flip_prob) == (
            0.8, 0.2, 0.5)
    assert views.global_crops.blur_prob == (1.0, 0.1)
    assert views.global_crops.solarize_prob == (0.0, 0.2)
    assert views.local_crops.blur_prob == 0.5
    assert views.strong_prob == 0.5
    assert views.strong.rand_augment == RandAugmentSpec(
        num_ops=2, prob=0.5, magnitude=9, magnitude_std=0.5,
        fill=(124, 116, 104))
    assert (views.strong.erase.prob, views.strong.erase.area) == (
        0.25, (0.02, 1 / 3))
    assert not views.strong.colours
    assert not views.strong.crop_first


@pytest.mark.unit
def test_variant_differs_in_batch_only():
    variant, original = load(VARIANT), load(ORIGINAL)
    assert variant.optim_wrapper.pop('accumulative_counts') == 8
    assert variant.to_dict() == original.to_dict()


@pytest.mark.unit
def test_masked_config_differs_in_masks_only():
    masked, original = load(MASKED), load(ORIGINAL)
    assert masked.model.pop('mask_generator').type == 'mimplug.AttentionMask'
    assert masked.to_dict() == original.to_dict()


@pytest.mark.unit
def test_every_config_is_listed():
    assert {path.stem for path in (CONFIGS / 'mugs').glob('*.py')} == {
        *SETTINGS, VARIANT, MASKED}


@pytest.mark.unit
def test_quickstart_has_the_budget_of_attmasks():
    mugs, attmask = (Config.fromfile(str(
        CONFIGS / f'quickstart/{name}_vit-quickstart-p8_fashion-mnist.py'))
        for name in ('mugs', 'attmask'))
    for key in ('train_cfg', 'optim_wrapper', 'param_scheduler',
                'val_cfg', 'data_preprocessor'):
        assert mugs[key] == attmask[key]
    assert (mugs.train_dataloader.batch_size
            == attmask.train_dataloader.batch_size)
    for key in ('arch', 'img_size', 'patch_size'):
        assert mugs.model.backbone[key] == attmask.model.backbone[key]
