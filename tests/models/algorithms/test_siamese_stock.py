"""Without masks and mixtures the losses are MMPretrain's, and gradients."""
from __future__ import annotations

import pytest
import torch
from mmpretrain.registry import MODELS
from toy_siamese import (
    ALGORITHMS,
    BACKBONE,
    samples,
    tiny_siamese,
    total,
    two_views,
)

from mimplug.converters import MMPRETRAIN_MOCO

pytestmark = pytest.mark.unit

CROSS_ENTROPY = dict(type='CrossEntropyLoss', loss_weight=1.0)
STOCK = {
    'MoCo': dict(
        head=dict(type='ContrastiveHead', loss=CROSS_ENTROPY,
                  temperature=0.2),
        queue_len=12, feat_dim=8, momentum=0.001),
    'SimCLR': dict(head=dict(type='ContrastiveHead', loss=CROSS_ENTROPY,
                             temperature=0.1)),
    'BYOL': dict(), 'SimSiam': dict(),
}


def build_stock(name: str):
    """MMPretrain's algorithm of the same parts."""
    parts = dict(ALGORITHMS[name])
    parts.pop('queue', None)
    return MODELS.build(dict(
        parts, type=f'mmpretrain.{name}', backbone=BACKBONE, **STOCK[name]))


@pytest.mark.parametrize('name', STOCK)
def test_losses_and_gradients_are_the_stock_ones(name):
    extra = dict(queue=12) if name == 'MoCo' else {}
    ours = tiny_siamese(name, **extra).double().train()
    stock = build_stock(name).double().train()
    state = ours.state_dict()
    if name == 'MoCo':
        # its queue is (D, K), and its first update copies all weights
        state = MMPRETRAIN_MOCO.write(state)
        stock.load_state_dict(state)
    else:
        stock.load_state_dict({
            key: value for key, value in state.items()
            if not key.startswith('teacher.')}, strict=name != 'BYOL')
    for seed in range(2 if name == 'MoCo' else 1):
        views = two_views(seed=seed, dtype=torch.float64)
        expected = stock.loss([view.clone() for view in views], None)['loss']
        value = total(ours.loss(views, samples()))
        torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)
        for model, loss in ((ours, value), (stock, expected)):
            model.zero_grad()
            loss.backward()
        theirs = dict(stock.named_parameters())
        for key, parameter in ours.named_parameters():
            if parameter.grad is not None:
                torch.testing.assert_close(
                    parameter.grad, theirs[key].grad, rtol=1e-8, atol=1e-9)
    if name == 'MoCo':
        torch.testing.assert_close(ours.queue.columns, stock.queue)
        assert torch.equal(ours.queue.pointer, stock.queue_ptr)
