"""Every algorithm with every mask generator; see ``matrix.py``."""
from __future__ import annotations

import pytest
import torch
from matrix import ALGORITHMS, GENERATORS

from mimplug.errors import ConfigError
from mimplug.masking import build_generator
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit

PAIRS = [(algorithm, generator) for algorithm in ALGORITHMS
         for generator in GENERATORS]


def name_pair(value):
    return getattr(value, 'name', None)


def total(model, batch, step=0):
    """The loss that MMEngine would minimise."""
    model.set_progress(Progress(step=step, max_steps=2))
    losses = model(*batch, mode='loss')
    return model.parse_losses(losses)[0]


def reason(algorithm, generator):
    return algorithm.refusal(build_generator(generator.config))


@pytest.mark.parametrize(
    'algorithm,generator',
    [pair for pair in PAIRS if reason(*pair) is None], ids=name_pair)
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
    token, *others = (named[name] for name in algorithm.watch)
    for parameter in others:
        assert parameter.grad is not None
        assert parameter.grad.abs().max() > 0
    hidden = model.preview_masks(*batch)['hidden'].any()
    moved = token.grad is not None and bool(token.grad.abs().max() > 0)
    assert moved == bool(hidden)


@pytest.mark.parametrize(
    'algorithm,generator',
    [pair for pair in PAIRS
     if pair[1].hides and reason(*pair) is None], ids=name_pair)
def test_the_mask_changes_the_loss(algorithm, generator):
    batch = algorithm.batch()
    with torch.no_grad():
        masked = total(algorithm.build(generator.config), batch)
        plain = total(algorithm.build(dict(type='mimplug.NoMask')), batch)
    assert not torch.allclose(masked, plain, atol=1e-6)


@pytest.mark.parametrize(
    'algorithm,generator',
    [pair for pair in PAIRS if reason(*pair) is not None], ids=name_pair)
def test_others_refuse_when_built(algorithm, generator):
    with pytest.raises(ConfigError, match=reason(algorithm, generator)):
        algorithm.build(generator.config)


def test_there_is_something_to_do():
    reasons = [reason(*pair) for pair in PAIRS]
    assert reasons.count(None) >= 8
    assert any(reasons)
