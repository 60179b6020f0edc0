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
from functools import partial
from typing import Any

import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from toy_siamese import tiny_siamese, two_views, view_mask
from toy_stock import STOCK, build_stock, make_images

from mimplug import masking  # noqa: F401  (fills the registry)
from mimplug.masking import Mask, MaskGenerator, Needs, build_generator
from mimplug.registry import TASK_UTILS

IMAGE, LOCAL, PATCH, BATCH, GLOBALS = 32, 16, 8, 2, 2
WIDTH, DEPTH = 32, 2


def make_views(seed: int, num_globals: int = GLOBALS) -> list[torch.Tensor]:
    """Global views and a local one."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [IMAGE] * num_globals + [LOCAL]
    return [torch.randn(BATCH, 3, size, size, generator=generator)
            for size in sizes]


@dataclass(frozen=True)
class Algorithm:
    """An algorithm that takes a mask generator.

    Args:
        name (str): Id in the matrix.
        build (Callable): Generator config or object → model with initial
            weights, tiny.
        gives (frozenset[str]): What it can hand to a generator, of
            ``attention``, ``saliency``, ``features``, ``images``,
            ``difficulty``.
        channels (frozenset[int]): Channels of masks that it understands.
        pixels (bool): Whether it masks pixels and not only patches.
        drops (bool): Whether tokens may be dropped.
        watch (tuple[str, ...]): Names of parameters that must get a gradient
            whenever something is hidden; the first one only then.
        images (Callable, optional): Gives the fake inputs for a seed, by
            default global and local views.
        num_views (int): Views that are masked.
        empty (bool): Whether it learns something where nothing is hidden.
        fixed (tuple[int, int], optional): Grid of an algorithm that wants as
            many hidden tokens in every row.
        batch_size (int): Samples of the fake batch.
        full (bool): Whether its row is run by ``make test-full`` only.
        fast (frozenset[str]): Generators with which it is not.
        token (bool): Whether the first of ``watch`` is a mask token. Without
            one all of them get a gradient in every step.
    """
    name: str
    build: Callable[[Any], nn.Module]
    gives: frozenset[str]
    watch: tuple[str, ...]
    channels: frozenset[int] = frozenset({1})
    pixels: bool = False
    drops: bool = False
    images: Callable[[int], Any] | None = None
    num_views: int = GLOBALS
    empty: bool = True
    fixed: tuple[int, int] | None = None
    batch_size: int = BATCH
    full: bool = False
    fast: frozenset[str] = frozenset()
    token: bool = True

    def batch(self, seed: int = 0) -> tuple[Any, list]:
        """Fake normalised views, and their data samples."""
        views = (self.images or make_views)(seed)
        samples = [DataSample(metainfo=dict(sample_key=(0, index, 0)))
                   for index in range(self.batch_size)]
        return views, samples

    def refusal(self, generator: MaskGenerator) -> str | None:
        """Why the pair makes no sense; None if it does."""
        needs = generator.needs
        asked = {name for name in ('saliency', 'features', 'images',
                                   'difficulty') if getattr(needs, name)}
        asked |= {'attention'} if needs.attention else set()
        if asked - self.gives:
            return ' '.join(sorted(asked - self.gives))
        if generator.channels not in self.channels:
            return 'channels'
        if generator.pixels and not self.pixels:
            return 'pixels'
        if getattr(generator, 'num_views', None) not in (
                None, self.num_views):
            return 'views'
        if generator.drops and not self.drops:
            return 'drop'
        if not self.empty and not generator.limits((4, 4))[1]:
            return 'nothing'
        if self.fixed and len(set(generator.limits(self.fixed))) > 1:
            return 'count'
        return None


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
    """iBOT with 16 prototypes, and a head for difficulty where it is used."""
    torch.manual_seed(0)
    asked = build_generator(mask_generator).needs.difficulty
    extra = dict(patch_difficulty=dict(hidden_channels=8)) if asked else {}
    model = MODELS.build(dict(
        type='mimplug.IBOT', backbone=tiny_vit(drop_path_rate=0.1),
        head=dict(type='mimplug.PrototypeHead', num_prototypes=16,
                  hidden_channels=32, bottleneck_channels=16),
        mask_generator=mask_generator, draws_seed=1, **extra))
    model.init_weights()
    return model


def build_mugs(mask_generator: Any) -> nn.Module:
    """Mugs with short queues; always masked images need one memory."""
    torch.manual_seed(0)
    head = dict(hidden_channels=32, out_channels=16, predictor_channels=32)
    model = MODELS.build(dict(
        type='mimplug.Mugs',
        backbone=dict(tiny_vit(drop_path_rate=0.1),
                      type='mimplug.LocalGroupViT'),
        mask_generator=mask_generator, draws_seed=1,
        instance=dict(head=head, queue=10),
        local_group=dict(head=head, queue=10, memory=9, neighbours=3,
                         shared_memory=True),
        group=dict(head=dict(num_prototypes=16, hidden_channels=32,
                             bottleneck_channels=16))))
    model.init_weights()
    return model


ALGORITHMS = [
    Algorithm(
        'ibot', build_ibot,
        gives=frozenset({'attention', 'features', 'images', 'difficulty'}),
        drops=True,
        watch=('backbone.mask_token', 'backbone.layers.0.attn.qkv.weight',
               'head.last_layer.parametrizations.weight.original1')),
    Algorithm(
        'mugs', build_mugs,
        gives=frozenset({'attention', 'features', 'images'}), drops=True,
        images=partial(make_views, num_globals=2 * GLOBALS),
        watch=('backbone.mask_token', 'backbone.relation_blocks.0.ln1.weight',
               'local_group_head.predictor.0.weight',
               'group_head.last_layer.parametrizations.weight.original1')),
]


def stock(name: str, token: str = 'backbone.mask_token',
          block: str = 'backbone.layers.0.attn.qkv.weight',
          **kwargs: Any) -> Algorithm:
    """An algorithm of MMPretrain; a frozen network looks for it."""
    # of two images a generator with apply_prob=0.5 would leave both whole
    images = partial(make_images, name, batch=2 * BATCH)
    return Algorithm(
        name, partial(build_stock, name), num_views=1, empty=False,
        gives=frozenset({'attention', 'features', 'images'}),
        watch=(token, block), batch_size=2 * BATCH,
        images=lambda seed: images(seed=seed), **kwargs)


ALGORITHMS += [
    stock('simmim', block='backbone.stages.0.blocks.0.attn.w_msa.qkv.weight'),
    stock('beit'),
    stock('mae', 'neck.mask_token', drops=True, fixed=(4, 4)),
    stock('beitv2', full=True),
    stock('maskfeat', full=True),
    stock('cae', 'neck.mask_token', fixed=(4, 4), full=True),
]
assert {a.name for a in ALGORITHMS} >= STOCK.keys()


def build_siamese(name: str, mask_generator: Any) -> nn.Module:
    """A siamese algorithm with a masked view on 4 x 4 cells of 8 pixels."""
    needs = build_generator(mask_generator).needs
    saliency = dict(type='mimplug.SpectralResidual', size=16)
    model: nn.Module = tiny_siamese(
        name, view_masks=[view_mask(mask_generator)],
        **(dict(saliency=saliency) if needs.saliency else {}))
    return model


def siamese(name: str, fast: tuple[str, ...] = ()) -> Algorithm:
    """An algorithm on a residual network."""
    return Algorithm(
        name.lower(), partial(build_siamese, name), num_views=1, pixels=True,
        gives=frozenset({'images', 'saliency'}), channels=frozenset({1, 3}),
        watch=('backbone.conv1.weight', ), batch_size=2 * BATCH, token=False,
        images=lambda seed: two_views(2 * BATCH, IMAGE, seed), full=True,
        fast=frozenset(fast))


ALGORITHMS += [
    siamese('MoCo', ('GridBlockMask-0', 'MixedMask-0', 'PerView-0')),
    siamese('SaliencyMoCo', ('SaliencyMask-0', 'SaliencyMask-2')),
    siamese('SimCLR', ('RandomMask-0', )),
    siamese('BYOL', ('FocalMask-0', )),
    siamese('SimSiam', ('BlockMask-0', )),
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
    # The examples draw their ratio, which models with a fixed count refuse.
    Generator('AttentionMask-fixed', dict(
        type='mimplug.AttentionMask', ratio=0.5, apply_prob=1.0)),
    Generator('RolloutMask-fixed', dict(
        type='mimplug.RolloutMask', mode='low', ratio=0.5, apply_prob=1.0)),
    Generator('PerView-two', dict(type='mimplug.PerView', generators=[
        dict(type='mimplug.AttentionMask', ratio=0.4, apply_prob=1.0),
        dict(type='mimplug.RandomMask', ratio=0.4)])),
    # What no registered generator asks for yet.
    Generator('asks-saliency', Asking(needs=Needs(saliency=True)), False),
    Generator('three-channels', Asking(channels=3), False),
    Generator('drops-tokens', Asking(drops=True), False),
]
