"""Every algorithm with every mask generator; see ``matrix.py``."""
from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from matrix import ALGORITHMS, GENERATORS
from matrix_table import PAGE, page_with, table

from mimplug.errors import ConfigError
from mimplug.masking import MaskGenerator, build_generator
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit

PAIRS = [(algorithm, generator) for algorithm in ALGORITHMS
         for generator in GENERATORS]


def name_pair(value):
    return getattr(value, 'name', None)


def pairs(hold):
    """The pairs of which something holds, as cases of a test."""
    return pytest.mark.parametrize('algorithm,generator', [
        pytest.param(*pair, marks=pytest.mark.full if is_full(*pair) else ())
        for pair in PAIRS if hold(*pair)], ids=name_pair)


def is_full(algorithm, generator):
    """Whether only ``make test-full`` runs a pair."""
    return algorithm.full and generator.name not in algorithm.fast


def total(model, batch, step=0):
    """The loss that MMEngine would minimise."""
    model.set_progress(Progress(step=step, max_steps=2))
    losses = model(*batch, mode='loss')
    return model.parse_losses(losses)[0]


def reason(algorithm, generator):
    return algorithm.refusal(build_generator(generator.config))


def fits(algorithm, generator):
    return reason(algorithm, generator) is None


@pairs(fits)
def test_two_steps(algorithm, generator):
    model = algorithm.build(generator.config).train()
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.1)
    batch = algorithm.batch()
    before = [p.detach().clone() for p in model.parameters()
              if p.requires_grad]
    for step in range(2):
        optimizer.zero_grad()
        loss = total(model, batch, step)
        assert torch.isfinite(loss)
        loss.backward()
        if step == 0:
            check_gradients(model, algorithm, batch)
        optimizer.step()
        model.step_end(0.9)
    after = [p for p in model.parameters() if p.requires_grad]
    assert any(not torch.equal(a, b) for a, b in zip(before, after))
    assert all(torch.isfinite(p).all() for p in after)


def check_gradients(model, algorithm, batch):
    """Hidden tokens reach the mask token; every step the first block."""
    named = dict(model.named_parameters())
    watched = [named[name] for name in algorithm.watch]
    for parameter in watched[algorithm.token:]:
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
    if not algorithm.token:
        return
    token = watched[0]
    hidden = model.preview_masks(*batch)['hidden'].any()
    moved = token.grad is not None and bool(token.grad.abs().max() > 0)
    assert moved == bool(hidden)


@pairs(fits)
def test_hidden_share_is_the_declared_one(algorithm, generator):
    model, batch = algorithm.build(generator.config), algorithm.batch()
    with torch.no_grad():
        model.set_progress(Progress(step=0, max_steps=2))
        losses = model(*batch, mode='loss')
        hidden = model.preview_masks(*batch)['hidden']
    low, high = model.mask_generator.limits(tuple(hidden.shape[1:]))
    counts = hidden.flatten(1).sum(1)
    share = hidden.float().mean()
    assert counts.max() <= high
    if model.mask_generator.channels == 1:
        assert low <= counts.min()
        torch.testing.assert_close(losses['raw/hidden'], share)
    else:  # pictures show what is hidden in any channel
        assert share / 3 <= losses['raw/hidden'] <= share


@pairs(lambda algorithm, generator: algorithm.empty
       and generator.hides and fits(algorithm, generator))
def test_the_mask_changes_the_loss(algorithm, generator):
    batch = algorithm.batch()
    with torch.no_grad():
        masked = total(algorithm.build(generator.config), batch)
        plain = total(algorithm.build(dict(type='mimplug.NoMask')), batch)
    assert not torch.allclose(masked, plain, atol=1e-6)


@pairs(lambda algorithm, generator: generator.hides
       and fits(algorithm, generator))
def test_another_mask_gives_another_loss(algorithm, generator):
    """The same draws, images and number of hidden tokens, other places."""
    batch = algorithm.batch()
    model = algorithm.build(generator.config)
    owner = owner_of(model)
    with torch.no_grad():  # of copies: a step may leave something behind
        before, again = (total(deepcopy(model), batch) for _ in range(2))
        owner.mask_generator = Shifted(owner.mask_generator)
        after = total(deepcopy(model), batch)
    assert torch.equal(before, again)
    assert not torch.allclose(before, after, atol=1e-6)


def owner_of(model):
    """The part of a model that asks the generator."""
    if hasattr(model, 'view_masks'):
        return model.view_masks[0].masker
    return getattr(model, 'mask_source', model)


class Shifted(MaskGenerator):
    """The masks of another generator one column further right."""

    def __init__(self, made):
        self.made = made
        for name in ('needs', 'pixels', 'channels', 'drops'):
            setattr(self, name, getattr(made, name))

    def __call__(self, context):
        mask = self.made(context)
        return replace(
            mask, hidden=mask.hidden.roll(1, -1),
            dropped=None if mask.dropped is None
            else mask.dropped.roll(1, -1))


@pairs(lambda *pair: not fits(*pair))
def test_others_refuse_when_built(algorithm, generator):
    with pytest.raises(ConfigError, match=reason(algorithm, generator)):
        algorithm.build(generator.config)


def test_the_page_shows_this_matrix():
    assert page_with(table()) == PAGE.read_text(), (
        'run python tests/matrix_table.py')


def test_there_is_something_to_do():
    reasons = [reason(*pair) for pair in PAIRS]
    assert reasons.count(None) >= 200
    assert {'saliency', 'difficulty', 'channels', 'pixels', 'views', 'drop',
            'nothing', 'count'} <= set(reasons)
    unused = [generator.name for generator in GENERATORS
              if not any(fits(algorithm, generator)
                         for algorithm in ALGORITHMS)]
    # made for three views
    assert unused == ['PerView-0']
