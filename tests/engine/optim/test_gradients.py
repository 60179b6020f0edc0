"""Losses that tell when they are broken, and norms that see it."""
from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import AdamW

from mimplug.engine.optim import OptimWrapper
from mimplug.engine.optim.gradients import poison, tensor_norms


@pytest.mark.unit
@pytest.mark.parametrize('value', [0.0, -3.5, 1e30])
def test_a_finite_loss_is_not_changed(value):
    x = torch.tensor(value, requires_grad=True)
    loss = x * 2
    loss = loss * poison(loss)
    loss.backward()
    assert loss.item() == 2 * x.item()
    assert x.grad.item() == 2


@pytest.mark.unit
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_a_broken_loss_has_no_finite_gradient(value):
    x = torch.ones(3, requires_grad=True)
    loss = (x * 2).sum() + value  # the gradient alone would be 2
    (loss * poison(loss)).backward()
    assert x.grad.isnan().all()


@pytest.mark.unit
@pytest.mark.parametrize('bad', [0, 1, 2])
def test_a_broken_loss_behind_a_dead_layer(bad):
    """It reaches no gradient; weight decay must not move anything, though."""
    x = nn.Parameter(-torch.ones(3))
    wrapper = OptimWrapper(AdamW([x], lr=0.1, weight_decay=0.5),
                           accumulative_counts=2)
    wrapper.initialize_count_status(nn.Linear(1, 1), 0, 4)
    for number in range(4):
        extra = float('nan') if number == bad else 1.0
        wrapper.update_params(torch.relu(x).sum() + extra)
        if number % 2:
            assert bool(wrapper.finite) == (bad not in (number - 1, number))
    assert wrapper.skipped.item() == 1
    assert x[0].item() == pytest.approx(-0.95)  # decayed by the other step


@pytest.mark.unit
def test_norms_see_small_formats_in_float32():
    # 300 * 300 overflows in float16
    grads = [torch.full((4,), 300.0, dtype=torch.float16),
             torch.ones(4, dtype=torch.bfloat16), torch.ones(4)]
    norms = tensor_norms(grads)
    assert norms.dtype == torch.float32
    assert norms.tolist() == [600.0, 2.0, 2.0]
    assert tensor_norms([torch.ones(4).double(), torch.ones(4)]
                        ).dtype == torch.float64
