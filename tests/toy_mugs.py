"""A small Mugs and its inputs, for the tests of several packages."""
from __future__ import annotations

import torch
from mmpretrain.structures import DataSample
from toy_ibot import VIT, make_views

from mimplug.converters import get_key_map
from mimplug.models.algorithms import Mugs
from mimplug.models.backbones import LocalGroupViT
from mimplug.schedules import Progress

HEAD = dict(hidden_channels=24, out_channels=8, predictor_channels=12)
TERMS = dict(
    instance=dict(head=HEAD, queue=10),
    local_group=dict(head=HEAD, queue=14, memory=20, neighbours=3),
    group=dict(head=dict(num_prototypes=12, hidden_channels=24,
                         bottleneck_channels=8, norm_last_layer=False)))

KEYS = get_key_map('mugs')


def theirs(name: str) -> str:
    """The reference's name of a parameter."""
    return next(iter(KEYS.write({name: torch.zeros(1)})))


def tiny_local_group_vit(**kwargs) -> LocalGroupViT:
    """A backbone with initial weights."""
    torch.manual_seed(0)
    built = LocalGroupViT(**{**VIT, 'with_mask_token': False, **kwargs})
    built.init_weights()
    return built


def merged(one: dict, two: dict) -> dict:
    """Two nested configs, the second one wins."""
    return {**one, **{
        key: merged(one[key], value) if isinstance(one.get(key), dict)
        and isinstance(value, dict) else value
        for key, value in two.items()}}


def tiny_mugs(backbone=(), seed=0, **kwargs) -> Mugs:
    """Mugs of a 2-layer ViT on 4 x 4 patches, ready for its first step."""
    terms = {name: merged(term, dict(kwargs.pop(name, ())))
             for name, term in TERMS.items()}
    torch.manual_seed(seed)
    model = Mugs(
        backbone={**VIT, 'type': 'mimplug.LocalGroupViT',
                  'interpolate_offset': 0.1, **dict(backbone)},
        **terms, **kwargs)
    model.init_weights()
    model.set_progress(Progress(step=0, max_steps=10, epoch=0, max_epochs=5))
    return model


def mugs_views(batch=3, num_locals=2, num_globals=4, **kwargs):
    """2 global views of the teacher, 2 of the student, local ones."""
    return make_views(batch, num_locals, num_globals=num_globals, **kwargs)


def mugs_samples(batch=3, first=0, weak=None, labels=True):
    """Data samples with keys, weak flags and labels."""
    samples = []
    for i in range(first, first + batch):
        meta = dict(sample_key=(0, i, 0))
        if weak is not None:
            meta['weak'] = weak[i]
        sample = DataSample(metainfo=meta)
        if labels:
            sample.set_gt_label(i % 2)
        samples.append(sample)
    return samples
