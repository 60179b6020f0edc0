"""NT-Xent: MMPretrain's loss, mixtures by hand, hard negatives, edges."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mimplug.errors import ConfigError
from mimplug.models.losses import NTXent, mix_targets, nt_xent_terms

pytestmark = pytest.mark.unit
DOUBLE = torch.float64
T = 0.3


def unit(*shape):
    """Random rows of length 1."""
    return F.normalize(torch.randn(*shape, dtype=DOUBLE), dim=-1)


def naive(anchor, bank, image, view, drop=None, hard=None, alpha=1.0):
    """The formula of the docstring, for one anchor."""
    number = bank.shape[1]
    positive = torch.exp(anchor @ bank[1 - view, image] / T)
    total = positive.clone()
    for j in range(number):
        if j not in (image, drop):
            total += torch.exp(bank[:, j] @ anchor / T).sum()
    if hard is not None:
        total += torch.exp(alpha * (hard @ anchor) / T).sum()
    return -(positive / total).log()


@pytest.mark.parametrize('view', [0, 1])
@pytest.mark.parametrize('drop', [False, True])
def test_mixtures_by_hand(view, drop):
    torch.manual_seed(0)
    bank, anchors = unit(2, 4, 5), unit(2, 4, 5)
    partner = torch.tensor([3, 2, 1, 0])
    targets = mix_targets(4, [(torch.full((4, ), 0.6), partner)])
    loss = NTXent(T, drop_partner=drop)
    terms = loss.terms(anchors, bank, targets.partner, view=view)
    for i in range(4):
        pair = (i, int(partner[i]))
        for p, (image, other) in enumerate((pair, pair[::-1])):
            torch.testing.assert_close(terms[1, i, p], naive(
                anchors[1, i], bank, image, view, other if drop else None))
        torch.testing.assert_close(
            terms[0, i, 0], naive(anchors[0, i], bank, i, view))


def test_hard_negatives_by_hand():
    torch.manual_seed(1)
    bank, hard = unit(2, 3, 5), unit(3, 2, 5)
    index = torch.arange(3).view(1, 3, 1)
    terms = nt_xent_terms(bank[:1], bank, index, temperature=T, hard=hard,
                          alpha=1.7)
    expected = [naive(bank[0, i], bank, i, 0, hard=hard[i], alpha=1.7)
                for i in range(3)]
    torch.testing.assert_close(terms[0, :, 0], torch.stack(expected))


def test_gradient_flows_into_the_bank_and_not_to_what_is_left_out():
    bank = unit(2, 3, 5).requires_grad_()
    anchor = unit(1, 1, 5)
    nt_xent_terms(anchor, bank, torch.zeros(1, 1, 1, dtype=torch.long),
                  temperature=T).sum().backward()
    moved = bank.grad.abs().sum(-1) > 0
    assert moved.tolist() == [[False, True, True], [True, True, True]]


def test_one_image_has_no_negative():
    bank = unit(2, 1, 5).requires_grad_()
    terms = nt_xent_terms(bank[:1], bank,
                          torch.zeros(1, 1, 1, dtype=torch.long))
    assert terms.abs().max() < 1e-12
    terms.sum().backward()
    assert bank.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    bank = unit(2, 3, 5).bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        terms = nt_xent_terms(bank[:1], bank, torch.arange(3).view(1, 3, 1))
    assert terms.dtype == torch.float32


@pytest.mark.parametrize('option', ['temperature', 'alpha'])
def test_refuses(option):
    with pytest.raises(ConfigError, match=f'{option}=0'):
        NTXent(**{option: 0})
