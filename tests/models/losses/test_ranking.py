"""Learning the order of losses: values, gradients, nothing to compare."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mimplug.models.losses import pairwise_ranking_loss, standardised_loss
from mimplug.models.losses.ranking import spread_tokens

pytestmark = pytest.mark.unit


def numbers(seed, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_pairs_against_the_reference_formula():
    """Both orders of every pair with different losses, in a loop."""
    predicted, target = numbers(0, 3, 6), numbers(1, 3, 6)
    target[0, 1] = target[0, 2]
    hidden = numbers(2, 3, 6) > 0
    total, pairs = 0.0, 0
    for row in range(3):
        chosen = hidden[row].nonzero()[:, 0].tolist()
        for i in chosen:
            for j in chosen:
                if target[row, i] == target[row, j]:
                    continue
                harder = (target[row, i] > target[row, j]).double()
                chance = torch.sigmoid(predicted[row, i] - predicted[row, j])
                total += F.binary_cross_entropy(chance, harder)
                pairs += 1
    assert pairs > 4
    found = pairwise_ranking_loss(predicted, target, hidden)
    torch.testing.assert_close(found, total / pairs)


def test_learning_the_order_orders():
    target = numbers(3, 2, 8)
    predicted = torch.zeros(2, 8, dtype=torch.float64, requires_grad=True)
    hidden = torch.ones(2, 8, dtype=torch.bool)
    for _ in range(300):
        loss = pairwise_ranking_loss(predicted, target, hidden)
        gradient, = torch.autograd.grad(loss, predicted)
        predicted.data -= 2.0 * gradient
    assert torch.equal(predicted.argsort(1), target.argsort(1))


@pytest.mark.parametrize('loss', [pairwise_ranking_loss, standardised_loss])
def test_what_is_not_hidden_does_not_count(loss):
    predicted, target = numbers(4, 2, 5), numbers(5, 2, 5)
    hidden = torch.tensor([[1, 1, 0, 1, 0], [0, 0, 1, 1, 0]]).bool()
    other = torch.where(hidden, target, 100.0)
    guess = torch.where(hidden, predicted, -100.0)
    torch.testing.assert_close(
        loss(predicted, target, hidden), loss(guess, other, hidden))


@pytest.mark.parametrize('loss', [pairwise_ranking_loss, standardised_loss])
def test_nothing_hidden_is_zero_with_a_gradient(loss):
    predicted = numbers(6, 2, 5).requires_grad_()
    value = loss(predicted, numbers(7, 2, 5), torch.zeros(2, 5).bool())
    value.backward()
    assert value == 0
    assert not predicted.grad.any()


def test_absolute_form_standardises_each_row():
    target = torch.tensor([[1.0, 2.0, 3.0, 50.0], [10.0, 30.0, 0.0, 0.0]])
    hidden = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    deviation = (2 / 3)**0.5
    perfect = torch.tensor(
        [[-1 / deviation, 0.0, 1 / deviation, 7.0], [-1.0, 1.0, 7.0, 7.0]])
    assert standardised_loss(perfect, target, hidden) < 1e-9
    off = standardised_loss(perfect + 1, target, hidden)
    torch.testing.assert_close(off, torch.tensor(1.0))


def test_tokens_go_back_to_their_places():
    values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    places = spread_tokens(values, torch.tensor([1, 4, 0]),
                           torch.tensor([True, True, False]), (2, 3))
    assert places.tolist() == [[0, 1, 0], [0, 2, 0]]
    places.sum().backward()
    assert values.grad.tolist() == [1, 1, 0]
