"""The networks of the MoCo goldens, and masks and mixtures given by them."""
from __future__ import annotations

from typing import Any

import torch
from mmpretrain.registry import MODELS
from toy_siamese import register

from mimplug.converters import MOCO, load_strict
from mimplug.draws import ReplayDraws
from mimplug.masking import Fill, Mask, MaskGenerator
from mimplug.schedules import Progress

DOUBLE = torch.float64


class GivenMask(MaskGenerator):
    """A mask on the grid, the same for every row."""

    def __init__(self, hidden: torch.Tensor):
        self.hidden = hidden

    def __call__(self, context):
        shape = (context.rows, 1, *self.hidden.shape)
        return Mask(self.hidden.expand(shape).clone())


class GivenFill(Fill):
    """What a golden says was seen."""

    def __init__(self, images: torch.Tensor):
        self.images = images

    def content(self, images, mask, draws):
        return self.images


def build_moco(golden, state: dict, kind: str = 'MoCo', **kwargs: Any):
    """An algorithm of ours with a golden's weights, float64."""
    register()
    width = golden.scalar('width')
    dim, capacity = state['queue'].shape
    model = MODELS.build(dict(
        type=f'mimplug.{kind}',
        backbone=dict(type='ResNet', depth=18, stem_channels=width,
                      base_channels=width),
        neck=dict(type='MoCoV2Neck', in_channels=8 * width,
                  hid_channels=8 * width, out_channels=dim),
        queue=capacity, temperature=golden.scalar('temperature'),
        momentum=golden.scalar('momentum_ema'), **kwargs)).double().train()
    load_strict(model, MOCO.read(state))
    return model


def sgd(golden, model) -> torch.optim.SGD:
    """The optimiser of the release."""
    return torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad],
        lr=golden.scalar('lr'), momentum=0.9, weight_decay=1e-4)


def replay(model, **values: Any) -> None:
    """Draws of a model that are given."""
    model.draws = lambda samples, views, batch: ReplayDraws(values).bind(
        views, batch)


def permutation_table(order: torch.Tensor) -> torch.Tensor:
    """Numbers whose ranks are an order."""
    return torch.argsort(order).double() / len(order)


class Watch:
    """Keeps what a model's contrast compares."""

    def __init__(self, model):
        self.contrast, self.model = model.contrast, model
        inner = model.contrast.terms

        def terms(query, positives, queue, *, hard=None):
            self.seen = (query.detach(), positives.detach(), queue.clone(),
                         hard)
            return inner(query, positives, queue, hard=hard)

        model.contrast.terms = terms

    def logits(self) -> torch.Tensor:
        """Of the clean queries of the first pair of views."""
        query, positives, queue, hard = self.seen
        return self.contrast.logits(
            query[0, 0], positives[0, 0, :, 0], queue,
            hard=None if hard is None else hard[0, 0])


def gradients(model) -> dict[str, torch.Tensor]:
    """By the names of the release."""
    return MOCO.write({name: p.grad for name, p in model.named_parameters()
                       if p.grad is not None})


def check_state(model, golden, tolerance: float = 1e-8) -> None:
    """The whole state, under the names of the release."""
    state = MOCO.write(model.state_dict())
    expected = golden.tree('sd/')
    assert {name for name in state
            if not name.endswith('num_batches_tracked')} == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            state[name], value, rtol=tolerance, atol=tolerance, msg=name)


def at(step: int) -> Progress:
    """Position of a golden's step."""
    return Progress(step=step, max_steps=2)
