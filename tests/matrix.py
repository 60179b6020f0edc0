"""What enters the matrix of algorithms and mask generators.

A new **generator** enters by being registered: its ``examples`` are the
settings that run. A new **algorithm** that masks adds one
:class:`Algorithm` to :data:`ALGORITHMS` and says what it can give to a
generator. Pairs that fit are trained for two steps; all others must refuse
when they are built.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn

from mimplug import masking  # noqa: F401  (fills the registry)
from mimplug.masking import Mask, MaskGenerator, Needs
from mimplug.registry import TASK_UTILS

IMAGE, LOCAL, PATCH, BATCH = 32, 16, 8, 2
WIDTH, DEPTH = 32, 2


@dataclass(frozen=True)
class Algorithm:
    """An algorithm that takes a mask generator.

    Args:
        name (str): Id in the matrix.
        build (Callable): Generator config or object → model with initial
            weights, tiny.
        gives (frozenset[str]): What it can hand to a generator, of
            ``attention``, ``saliency``, ``features``, ``images``.
        channels (frozenset[int]): Channels of masks that it understands.
        drops (bool): Whether tokens may be dropped.
        watch (tuple[str, ...]): Names of parameters that must get a gradient
            whenever something is hidden; the first one only then.
        num_locals (int): Local views in the fake batch.
    """
    name: str
    build: Callable[[Any], nn.Module]
    gives: frozenset[str]
    watch: tuple[str, ...]
    channels: frozenset[int] = frozenset({1})
    drops: bool = False
    num_locals: int = 1

    def batch(self, seed: int = 0) -> tuple[list[torch.Tensor], list]:
        """Fake normalised views, and their data samples."""
        generator = torch.Generator().manual_seed(seed)
        sizes = [IMAGE] * 2 + [LOCAL] * self.num_locals
        views = [torch.randn(BATCH, 3, size, size, generator=generator)
                 for size in sizes]
        samples = [DataSample(metainfo=dict(sample_key=(0, index, 0)))
                   for index in range(BATCH)]
        return views, samples

    def refusal(self, generator: MaskGenerator) -> str | None:
        """Why the pair makes no sense; None if it does."""
        needs = generator.needs
        asked = {name for name in ('saliency', 'features', 'images')
                 if getattr(needs, name)}
        asked |= {'attention'} if needs.attention else set()
        if asked - self.gives:
            return ' '.join(sorted(asked - self.gives))
        if generator.channels not in self.channels:
            return 'channels'
        return 'drop' if generator.drops and not self.drops else None


@dataclass(frozen=True)
class Generator:
    """One setting of a mask generator.

    Args:
        name (str): Id in the matrix.
        config (Any): Config or object.
        hides (bool): Whether it ever hides something.
    """
    name: str
    config: Any
    hides: bool = True


def tiny_vit(**kwargs: Any) -> dict:
    """Config of a masked ViT with 16 patches."""
    return dict(
        type='mimplug.MaskedViT', img_size=IMAGE, patch_size=PATCH,
        arch=dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=2,
                  feedforward_channels=2 * WIDTH), **kwargs)


def build_ibot(mask_generator: Any) -> nn.Module:
    """iBOT with 16 prototypes."""
    torch.manual_seed(0)
    model = MODELS.build(dict(
        type='mimplug.IBOT', backbone=tiny_vit(drop_path_rate=0.1),
        head=dict(type='mimplug.PrototypeHead', num_prototypes=16,
                  hidden_channels=32, bottleneck_channels=16),
        mask_generator=mask_generator, draws_seed=1))
    model.init_weights()
    return model


ALGORITHMS = [
    Algorithm(
        'ibot', build_ibot,
        gives=frozenset({'attention', 'features', 'images'}),
        watch=('backbone.mask_token', 'backbone.layers.0.attn.qkv.weight',
               'head.last_layer.parametrizations.weight.original1')),
]


class Asking(MaskGenerator):
    """Hides nothing and needs or gives something special."""

    def __init__(self, **special: Any):
        for name, value in special.items():
            setattr(self, name, value)

    def __call__(self, context):
        return Mask.none(context.rows, context.grid, context.device)


def registered_generators() -> Sequence[Generator]:
    """Every example of every registered generator."""
    found = []
    for name, cls in sorted(TASK_UTILS.module_dict.items()):
        if inspect.isclass(cls) and issubclass(cls, MaskGenerator):
            found += [
                Generator(f'{name}-{number}',
                          dict(type=f'mimplug.{name}', **example),
                          hides=name != 'NoMask')
                for number, example in enumerate(cls.examples)
            ]
    return found


GENERATORS = [
    *registered_generators(),
    # What no registered generator asks for yet.
    Generator('asks-saliency', Asking(needs=Needs(saliency=True)), False),
    Generator('three-channels', Asking(channels=3), False),
    Generator('drops-tokens', Asking(drops=True), False),
]
