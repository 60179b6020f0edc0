"""The mixing loss of SimCLR, BYOL and SimSiam, written out."""
from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from toy_siamese import MIXES, samples, tiny_siamese, two_views

pytestmark = pytest.mark.unit


def ready(name, **kwargs):
    """A model in evaluation mode, float64, so that passes are independent."""
    model = tiny_siamese(name, mixes=MIXES, **kwargs).double().eval()
    return model, two_views(dtype=torch.float64)


def expected(model, views, term, view=0):
    """lam l(own) + (1 - lam) l(partner) of each mixture, averaged."""
    seen = model.look(views, samples())
    sums = []
    for mix in model.mixtures(seen, view):
        feature = model.encode(mix.images)
        lam = mix.lam.double()
        rows = torch.arange(len(lam))
        sums.append((lam * term(feature, rows, view) + (1 - lam) * term(
            feature, mix.partner, view)).mean())
    return sums


@pytest.mark.parametrize('symmetric', [False, True])
@pytest.mark.parametrize('name', ['BYOL', 'SimSiam'])
def test_predictive(name, symmetric):
    model, views = ready(name, symmetric=symmetric)
    encode = model.encode_key if name == 'BYOL' else model.encode

    def term(feature, rows, view):
        predicted = model.head.predictor([feature])[0]
        return -F.cosine_similarity(
            predicted, encode(views[1 - view])[rows], dim=1)

    losses = model.loss(views, samples())
    directions = range(2 if symmetric else 1)
    scale = 2.0 if name == 'BYOL' else 1 / len(directions)
    for i in (0, 1):
        torch.testing.assert_close(losses[f'loss_mix{i}'], scale * sum(
            expected(model, views, term, view)[i] for view in directions))
    clean = sum(term(model.encode(views[view]), torch.arange(4), view).mean()
                for view in directions)
    torch.testing.assert_close(losses['loss_clean'], scale * clean)


@pytest.mark.parametrize('symmetric', [False, True])
def test_simclr(symmetric):
    model, views = ready('SimCLR', symmetric=symmetric, temperature=0.3)
    bank = torch.stack([F.normalize(model.encode(view), dim=1)
                        for view in views])

    def term(feature, rows, view):
        similar = torch.einsum(
            'bd,vnd->bvn', F.normalize(feature, dim=1), bank) / 0.3
        keep = torch.ones_like(similar, dtype=torch.bool)
        keep[torch.arange(4), view, rows] = False
        total = similar.masked_fill(~keep, -torch.inf).flatten(1)
        return (total.logsumexp(1)
                - similar[torch.arange(4), 1 - view, rows])

    losses = model.loss(views, samples())
    directions = range(2 if symmetric else 1)
    for i in (0, 1):
        torch.testing.assert_close(losses[f'loss_mix{i}'], sum(
            expected(model, views, term, view)[i] for view in directions)
            / len(directions))
    clean = [term(model.encode(views[view]), torch.arange(4), view).mean()
             for view in (0, 1)]
    torch.testing.assert_close(losses['loss_clean'], sum(clean) / 2)


def test_a_mask_of_each_image_has_a_weight_of_its_own():
    mix = dict(type='mimplug.MaskMix', grid=4, mask_generator=dict(
        type='mimplug.RandomMask', ratio=(0.5, 0.4)))
    model = tiny_siamese('MoCo', mixes=[mix])
    made, = model.mixtures(model.look(two_views(), samples()), 0)
    assert len(set(made.lam.tolist())) > 1
    kept = (made.images == two_views()[0]).flatten(1).float().mean(1)
    torch.testing.assert_close(kept, made.lam)
