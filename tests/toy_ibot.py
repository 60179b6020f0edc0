"""A small iBOT and its inputs, for the tests of several packages."""
from __future__ import annotations

import torch
from mmpretrain.structures import DataSample

from mimplug.models import algorithms
from mimplug.models.backbones import MaskedViT
from mimplug.schedules import Progress

VIT = dict(
    arch=dict(embed_dims=16, num_layers=2, num_heads=2,
              feedforward_channels=32),
    img_size=16, patch_size=4)

GENERATORS = {
    'high': dict(type='mimplug.AttentionMask', ratio=(0.3, 0.2)),
    'low': dict(type='mimplug.AttentionMask', mode='low', apply_prob=1.0),
    'hint': dict(type='mimplug.AttentionMask', mode='hint', show_max=0.5),
    'random': dict(type='mimplug.RandomMask', ratio=0.5),
    'block': dict(type='mimplug.BlockMask', ratio=(0.4, 0.1)),
    'views': dict(type='mimplug.PerView', generators=[
        dict(type='mimplug.RolloutMask', ratio=0.4),
        dict(type='mimplug.AttentionMask', ratio=0.4, score=dict(
            type='mimplug.LogScore', layer=0))]),
    'none': dict(type='mimplug.NoMask'),
}


def tiny_vit(**kwargs) -> MaskedViT:
    """A backbone with initial weights."""
    torch.manual_seed(0)
    built = MaskedViT(**{**VIT, **kwargs})
    built.init_weights()
    return built


def tiny_ibot(backbone=(), head=(), seed=0, **kwargs) -> algorithms.IBOT:
    """IBOT of a 2-layer ViT on 4 x 4 patches, ready for its first step."""
    kwargs.setdefault('mask_generator', dict(
        type='mimplug.AttentionMask', ratio=0.4, apply_prob=1.0))
    torch.manual_seed(seed)
    model = algorithms.IBOT(
        backbone=dict(VIT, type='mimplug.MaskedViT', interpolate_offset=0.1,
                      **dict(backbone)),
        head=dict(dict(
            type='mimplug.PrototypeHead', num_prototypes=12,
            hidden_channels=24, bottleneck_channels=8,
            norm_last_layer=False), **dict(head)),
        **kwargs)
    model.init_weights()
    model.set_progress(Progress(step=0, max_steps=10, epoch=0, max_epochs=5))
    return model


def make_views(batch=3, num_locals=2, seed=1, dtype=torch.float32,
               sizes=(16, 8), num_globals=2, channels=3):
    """Global and local views of random images, in the order of a batch."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [sizes[0]] * num_globals + [sizes[1]] * num_locals
    return [torch.randn(batch, channels, size, size, generator=generator,
                        dtype=torch.float64).to(dtype) for size in shapes]


def make_samples(batch=3, first=0, epoch=0):
    """Data samples with keys ``first``, ``first + 1``, …"""
    return [DataSample(metainfo=dict(sample_key=(epoch, first + i, 0)))
            for i in range(batch)]


def total(losses: dict) -> torch.Tensor:
    """The sum that MMEngine would optimise."""
    return sum(value for name, value in losses.items() if 'loss' in name)


def student_parameters(model) -> dict:
    """Trainable parameters by name."""
    return {name: parameter for name, parameter in model.named_parameters()
            if parameter.requires_grad}


def gradients(model, views, samples=None):
    """Loss terms, and the gradient of each trainable parameter."""
    model.zero_grad()
    losses = model.loss(views, samples)
    total(losses).backward()
    return losses, {name: parameter.grad for name, parameter
                    in student_parameters(model).items()}
