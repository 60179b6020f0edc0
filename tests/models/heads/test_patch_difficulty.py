"""The head that says which patches are hard."""
from __future__ import annotations

import pytest
import torch

from mimplug.errors import ConfigError
from mimplug.masking import Mask
from mimplug.models.heads import PatchDifficulty

pytestmark = pytest.mark.unit


def head_of(**kwargs):
    torch.manual_seed(0)
    head = PatchDifficulty(6, 32, **kwargs)
    head.init_weights()
    return head


@pytest.mark.parametrize('relative', [True, False])
def test_it_learns_what_the_tokens_tell(relative):
    """The loss of a patch is its first feature; half of them hidden."""
    head = head_of(relative=relative)
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(16, 36, 6, generator=generator)
    hidden = torch.rand(16, 1, 6, 6, generator=generator) < 0.5
    mask = Mask(hidden)
    rows = mask.hidden_rows()
    losses = tokens.flatten(0, 1)[rows[0], 0]
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    history = []
    for _ in range(80):
        optimizer.zero_grad()
        loss = head.loss(tokens, mask, rows, losses)
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.5 * history[0]
    fresh = torch.randn(200, 6, generator=generator)
    both = torch.stack((head(fresh), fresh[:, 0]))
    assert torch.corrcoef(both)[0, 1] > 0.7


def test_no_gradient_leaves_the_head():
    head = head_of()
    tokens = torch.randn(2, 4, 6, requires_grad=True)
    mask = Mask(torch.ones(2, 1, 2, 2, dtype=torch.bool))
    losses = torch.randn(8, requires_grad=True)
    loss = head.loss(tokens, mask, mask.hidden_rows(), losses)
    given = torch.autograd.grad(
        loss, (tokens, losses, *head.parameters()), allow_unused=True)
    assert given[0] is None
    assert given[1] is None
    assert all(part is not None and part.abs().max() > 0
               for part in given[2:])


def test_nothing_hidden_still_gives_gradients():
    head = head_of(weight=2.0)
    mask = Mask.none(2, (2, 2))
    loss = head.loss(torch.randn(2, 4, 6), mask, mask.hidden_rows(),
                     torch.zeros(0))
    loss.backward()
    assert loss == 0
    assert all(part.grad is not None for part in head.parameters())


def test_weight_scales_the_loss():
    mask = Mask(torch.ones(2, 1, 2, 2, dtype=torch.bool))
    tokens, losses = torch.randn(2, 4, 6), torch.randn(8)
    one, three = (head_of(weight=weight).loss(
        tokens, mask, mask.hidden_rows(), losses) for weight in (1.0, 3.0))
    torch.testing.assert_close(three, 3 * one)


@pytest.mark.parametrize('wrong', [
    {'in_channels': 0}, {'hidden_channels': 0}, {'weight': -1.0}])
def test_numbers_out_of_range(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PatchDifficulty(**{'in_channels': 4, **wrong})
