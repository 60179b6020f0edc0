"""MST, MILAN and AMT: chances that attention gives."""
from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mimplug.errors import ConfigError
from mimplug.masking import AMTMask, MILANMask, MSTMask
from mimplug.schedules import Progress

pytestmark = pytest.mark.unit


def attended(make_context, rows, batch=1, **kwargs):
    """A context whose CLS token attends as given: (H, L) for every image."""
    rows = torch.tensor(rows)
    heads, length = rows.shape
    whole = torch.cat((torch.full((heads, 1), 0.1), rows), 1)
    context = make_context(batch=batch, views=1, grid=(1, length), **kwargs)
    return replace(context, num_layers=1, attention={
        0: whole.expand(batch, heads, length + 1)})


def test_mst_hides_only_among_the_least_attended(make_context):
    context = attended(
        make_context, [[0.1, 0.4, 0.2, 0.3], [0.1, 0.4, 0.2, 0.3]], 500)
    hidden = MSTMask(0.5, 0.4)(context).tokens.float().mean(0)
    assert hidden[1] == hidden[3] == 0
    assert (hidden[[0, 2]] - 0.4).abs().max() < 0.06


def test_mst_averages_heads(make_context):
    context = attended(make_context, [[0.1, 0.2, 0.9], [0.9, 0.2, 0.2]])
    assert MSTMask(0.34, 1.0)(context).tokens.tolist() == [
        [False, True, False]]


def test_milan_keeps_patches_by_weight(make_context):
    weights = [0.1, 0.2, 0.3, 0.4]
    context = attended(make_context, [weights], 4000)
    mask = MILANMask(0.75)(context)
    assert mask.capacity == 3 * 4000
    seen = 1 - mask.tokens.float().mean(0)
    assert (seen - torch.tensor(weights)).abs().max() < 0.03


def test_milan_temperature_sharpens(make_context):
    context = attended(make_context, [[0.1, 0.2, 0.3, 0.4]], 500)
    seen = 1 - MILANMask(0.75, temperature=0.05)(context).tokens.float()
    assert seen.mean(0)[3] > 0.95


def test_milan_takes_attention_of_exactly_zero(make_context):
    context = attended(make_context, [[0.0, 0.0, 0.0, 1.0]], 50)
    mask = MILANMask(0.75)(context)
    assert (mask.tokens.sum(1) == 3).all()
    assert not mask.tokens[:, 3].any()


def test_amt_weights(make_context):
    """Each head from 0 to 1, then their mean."""
    context = attended(
        make_context, [[0.1, 0.2, 0.3], [0.6, 0.2, 0.4]])
    expected = torch.tensor([[(0 + 1) / 2, (0.5 + 0) / 2, (1 + 0.5) / 2]])
    torch.testing.assert_close(AMTMask().weights(context), expected)


def test_amt_weights_of_even_attention_are_numbers(make_context):
    context = attended(make_context, [[0.2, 0.2, 0.2, 0.2]], 20)
    mask = AMTMask(0.25, 0.25)(context)
    assert (mask.tokens.sum(1) == 1).all()


def test_amt_counts(make_context):
    """floor(196 * 0.45) hidden, floor(196 * 0.85) hidden or dropped."""
    context = make_context(batch=4, grid=(14, 14), attention=True)
    mask = AMTMask()(context)
    assert (mask.hidden.flatten(1).sum(1) == 88).all()
    assert (mask.dropped.flatten(1).sum(1) == 166 - 88).all()
    assert mask.num_dropped == 78
    assert not (mask.hidden & mask.dropped).any()


def test_amt_hides_the_most_attended_first(make_context):
    """Weights 0, 1/3, 2/3, 1: the first drawn has them as chances."""
    context = attended(make_context, [[0.1, 0.2, 0.3, 0.4]], 4000)
    mask = AMTMask(0.25, 0.25)(context)
    hidden = mask.tokens.float().mean(0)
    assert (hidden - torch.tensor([0, 1 / 6, 2 / 6, 3 / 6])
            ).abs().max() < 0.03
    # second without replacement: sum over the first one
    chances = [1 / 6, 2 / 6, 3 / 6]
    second = [sum(chances[j] * chances[i] / (1 - chances[j])
                  for j in range(3) if j != i) for i in range(3)]
    dropped = mask.dropped.flatten(1).float().mean(0)
    assert (dropped - torch.tensor([0, *second])).abs().max() < 0.03


def test_amt_starts_with_random_masks(make_context):
    generator = AMTMask(random_epochs=2, random_ratio=0.5)
    context = attended(make_context, [[0.0, 0.0, 0.1, 0.9]], 400)
    for epoch, number, dropped in ((1, 2, 0), (2, 1, 2)):
        mask = generator(replace(
            context, progress=Progress(0, 1, epoch, 9)))
        assert (mask.tokens.sum(1) == number).all()
        assert mask.num_dropped == dropped
        assert mask.dropped.sum() == 400 * dropped
        if epoch == 1:
            assert mask.keep_ids() is None
            assert (mask.tokens.float().mean(0) - 0.5).abs().max() < 0.1
    assert generator.limits((1, 4)) == (1, 2)


@pytest.mark.parametrize('build, message', [
    (lambda: AMTMask(0.6, 0.4), 'must be below 1'),
    (lambda: AMTMask((0.3, 0.2)), r'ratio=\(0.3, 0.2\): allowed'),
    (lambda: AMTMask(random_epochs=-1), 'random_epochs'),
    (lambda: MSTMask(0.5, 1.2), 'prob=1.2'),
    (lambda: MILANMask(temperature=0), 'temperature=0')])
def test_numbers_out_of_range(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
